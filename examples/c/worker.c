/* A worker of backchannel 1.0, in C11 and POSIX: as many connections at once as the parent allows, one poll().
 *
 * It is started by the exec binding (spec/1.0, page "Bindings"): the channel is descriptor 3, the listeners are 4 and
 * on, the rest is in the environment. It never watches a listener. It accepts when an order says so, answers with BUSY,
 * and reports at the end of each turn what has changed. The service is the test service of the adapter contract; a
 * server of your own replaces the part between the two rules below, and nothing else.
 *
 * usage: worker [--quota CONNECTIONS]
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

extern char **environ;

enum { CHANNEL = 3, FIRST_LISTENER = 4 };
enum { EXIT_PROTOCOL = 76, EXIT_CONFIGURATION = 78 };
#define LONGEST 4294967295. /* of all numbers; as seconds more than a century */

struct connection {
    int fd;
    size_t have;       /* of the line */
    char line[256];
    int holding;       /* the line was "hold" */
    unsigned due;      /* answers that are still to be written */
    char answer[64];   /* the first of them */
    size_t length, written;
};

static unsigned slot, listeners, capacity;
static double drain_deadline;
static unsigned long quota, accepted_so_far;

static struct connection *connections;
static struct pollfd *polled; /* one for each, and one for the channel */
static size_t opened, allocated;

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double now(void)
{
    return seconds(CLOCK_MONOTONIC);
}

static void set_flags(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* ---------------------------------------------------------------------------------------------------- the service */

static size_t who(char *text, size_t room)
{
    return (size_t)snprintf(text, room, "%ld %u\n", (long)getpid(), slot);
}

/* Write the answers that are due, as far as the client takes it. 0: the connection is broken. */
static int write_answers(struct connection *c)
{
    struct rusage usage;

    while (c->due) {
        if (!c->written) { /* the figure is this answer's, and stays while it is written */
            getrusage(RUSAGE_SELF, &usage);
            c->length = (size_t)snprintf(c->answer, sizeof c->answer, "%ld %u %ld\n", (long)getpid(), slot, usage.ru_nvcsw);
        }
        ssize_t n = write(c->fd, c->answer + c->written, c->length - c->written);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->written += (size_t)n;
        if (c->written == c->length) {
            c->written = 0;
            c->due--;
        }
    }
    return 1;
}

/* Carry out a line. 0: the connection is done. */
static int act(struct connection *c)
{
    char text[64];
    size_t length = who(text, sizeof text);

    if (strcmp(c->line, "hold") == 0) {
        c->holding = 1;
        c->due++;
        return 1;
    }
    if (strncmp(c->line, "exit ", 5) == 0)
        _exit(atoi(c->line + 5));
    if (strncmp(c->line, "burn ", 5) == 0) {
        double until = seconds(CLOCK_PROCESS_CPUTIME_ID) + atof(c->line + 5) / 1000;
        while (seconds(CLOCK_PROCESS_CPUTIME_ID) < until)
            ;
    } else if (strcmp(c->line, "who") != 0) {
        return 0; /* "raise" too: what a C function cannot do it returns, and that ends this connection alone */
    }
    if (write(c->fd, text, length) < 0)
        perror("worker: write"); /* the client has gone; so few octets always fit into a new socket */
    return 0;
}

/* Read once, and act on it: a client that sends without a pause is not served alone. 0: the connection is done. */
static int serve(struct connection *c)
{
    char data[512];
    ssize_t n;

    if (!write_answers(c))
        return 0;
    if (c->due)
        return 1; /* nothing more is read until it has taken its answers */
    n = read(c->fd, data, sizeof data);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    for (ssize_t i = 0; i < n; i++) {
        if (c->holding) {
            c->due += data[i] == '\n';
        } else if (data[i] == '\n') {
            c->line[c->have] = '\0';
            if (!act(c))
                return 0;
        } else if (c->have + 1 == sizeof c->line) {
            return 0;
        } else {
            c->line[c->have++] = data[i];
        }
    }
    return write_answers(c);
}

/* ---------------------------------------------------------------------------------------------------- the protocol */

static struct cutter incoming;
static uint8_t outgoing[FRAME_SIZE]; /* one frame, and how much of it is still to be written */
static size_t unsent;
static uint32_t told_open, told_capacity; /* the figures of the last report */
static int draining, deaf, mute, welcomed, status; /* deaf: nothing more to read; mute: nothing more to write */
static double drain_at;

static void violation(const char *requirement)
{
    fprintf(stderr, "worker %u: the parent broke %s\n", slot, requirement);
    mute = 1;
    unsent = 0;
    incoming.have = 0;
    status = EXIT_PROTOCOL;
}

/* End-of-file, or a violation: give the listeners back, finish what is held (BC-DRAIN-03, BC-VIOL-03). */
static void drain(void)
{
    if (draining)
        return;
    draining = deaf = 1;
    drain_at = now() + drain_deadline;
    for (unsigned i = 0; i < listeners; i++)
        close(FIRST_LISTENER + (int)i);
}

/* Write what is left of the outgoing frame. The parent that has gone is noticed when we read (BC-CHAN-06). */
static void flush(void)
{
    while (unsent) {
        ssize_t n = write(CHANNEL, outgoing + FRAME_SIZE - unsent, unsent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN) {
                mute = 1;
                unsent = 0;
            }
            return;
        }
        unsent -= (size_t)n;
    }
}

static void report(struct frame f)
{
    told_open = OPEN(f) = (uint32_t)opened;
    told_capacity = CAPACITY(f) = capacity;
    if (mute)
        return;
    frame_put(outgoing, f);
    unsent = FRAME_SIZE;
    flush();
}

/* At the end of each turn: what has changed and no BUSY has told (BC-STATUS-01, -02, -03). */
static void report_changes(void)
{
    if (unsent || (told_open == opened && told_capacity == capacity))
        return;
    report((struct frame){.version = VERSION, .type = opened ? GONE : IDLE});
}

/* What accept() said, as a reason (BC-ERRNO-01). */
static uint8_t reason_of(int error)
{
    static const int peer[] = {
        ECONNABORTED, ECONNRESET, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT,
#ifdef EHOSTDOWN
        EHOSTDOWN,
#endif
#ifdef ENONET
        ENONET,
#endif
    };

    if (error == EAGAIN || error == EWOULDBLOCK)
        return EMPTY;
    if (error == EMFILE)
        return WORKER;
    if (error == ENFILE || error == ENOBUFS || error == ENOMEM)
        return SYSTEM;
    for (size_t i = 0; i < sizeof peer / sizeof *peer; i++)
        if (error == peer[i])
            return PEER;
    return UNUSABLE;
}

/* Twice as much, on the heap: a hundred thousand connections do not fit on a stack. */
static int make_room(void)
{
    size_t more = allocated ? 2 * allocated : 8;
    struct connection *grown = realloc(connections, more * sizeof *grown);
    struct pollfd *widened;

    if (!grown)
        return 0;
    connections = grown;
    widened = realloc(polled, (more + 1) * sizeof *widened);
    if (!widened)
        return 0;
    polled = widened;
    allocated = more;
    return 1;
}

/* One attempt: a new connection at the end of the table, or 0 with errno set. */
static int accept_one(unsigned listener)
{
    int fd;

    if (opened == allocated && !make_room())
        return 0; /* errno is ENOMEM */
    do
        fd = accept(FIRST_LISTENER + (int)listener, NULL, NULL);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return 0;
    set_flags(fd); /* some systems copy O_NONBLOCK from the listener, some do not (BC-WORK-06) */
    connections[opened++] = (struct connection){.fd = fd};
    return 1;
}

static void end(size_t at)
{
    close(connections[at].fd); /* closed before a report leaves it out (BC-STATUS-05) */
    connections[at] = connections[--opened];
}

/* An ACCEPT: as many attempts as it says, the answer, and only then the service (BC-WORK-02, BC-BUSY-02). */
static void carry_out(struct frame order)
{
    struct frame busy = {.version = VERSION, .type = BUSY, .reason = FILLED};
    size_t first = opened;

    ORDER(busy) = ORDER(order);
    for (uint32_t attempt = 0; attempt < MAX(order); attempt++) {
        if (accept_one(LISTENER(order))) {
            ACCEPTED(busy)++;
            continue;
        }
        busy.reason = reason_of(errno);
        if (busy.reason != PEER)
            break;
    }
    if (ACCEPTED(busy) == MAX(order))
        busy.reason = FILLED;
    accepted_so_far += ACCEPTED(busy);
    if (quota && accepted_so_far >= quota)
        capacity = 0; /* retiring, for good (BC-CAP-02) */
    report(busy);
    for (size_t i = opened; i-- > first;) /* the request is often there already: do not wait for it */
        if (!serve(&connections[i]))
            end(i);
}

/* What the parent has sent. While an answer does not fit into the channel nothing more is read, so at most one ever
 * waits (BC-CHAN-08). */
static void take_orders(void)
{
    uint8_t octets[FRAME_SIZE];

    while (!unsent && !draining) {
        struct frame f;
        const char *fault;
        size_t room;
        uint8_t *to;
        ssize_t n;

        if (cutter_next(&incoming, octets)) {
            f = frame_get(octets);
            fault = frame_fault(f, FROM_PARENT, !welcomed);
            if (!fault && LISTENER(f) >= listeners)
                fault = "BC-ACCEPT-04";
            if (fault) {
                violation(fault);
                drain();
                return;
            }
            welcomed = 1;
            carry_out(f);
            continue;
        }
        if (deaf) {
            drain();
            return;
        }
        to = cutter_room(&incoming, &room);
        n = read(CHANNEL, to, room);
        if (n > 0)
            incoming.have += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            deaf = 1; /* end-of-file, or ECONNRESET, which is the same; what was read before is carried out first */
        else if (errno == EAGAIN)
            return;
    }
}

/* ------------------------------------------------------------------------------------------------------- one turn */

static void turn(void)
{
    size_t count = opened;
    int timeout = -1;

    for (size_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){.fd = connections[i].fd, .events = connections[i].due ? POLLOUT : POLLIN};
    /* a channel at its end would wake us for ever: it is watched only while there is something to read or to write */
    polled[count] = (struct pollfd){.fd = draining && !unsent ? -1 : CHANNEL, .events = unsent ? POLLOUT : POLLIN};
    if (draining) {
        double left = drain_at - now();
        timeout = left > 3600 ? 3600000 : left > 0 ? (int)(left * 1000) + 1 : 0;
    }
    if (poll(polled, (nfds_t)count + 1, timeout) < 0) {
        if (errno == EINTR)
            return;
        perror("worker: poll");
        exit(1);
    }
    for (size_t i = count; i-- > 0;) /* from the end, because end() fills the hole with the last one */
        if (polled[i].revents && !serve(&connections[i]))
            end(i);
    flush();
    report_changes();
    take_orders();
    report_changes();
}

/* A number in decimal digits, which a frame's word can hold; "fraction": perhaps with a point and further digits, and
 * of any size (BC-EXEC-02). strtod() alone takes more, as "nan", " 1", "1e3" or "1.". */
static double variable(const char *name, int fraction, double least)
{
    static const char digits[] = "0123456789";
    const char *text = getenv(name), *end = text;
    double value = -1;

    if (text) {
        end += strspn(text, digits);
        if (fraction && *end == '.' && isdigit((unsigned char)end[1]))
            end += 1 + strspn(end + 1, digits);
        if (isdigit((unsigned char)*text) && !*end)
            value = strtod(text, NULL);
    }
    if (value < least || (!fraction && value > UINT32_MAX)) {
        fprintf(stderr, "worker: %s is %.40s: the parent must set it (BC-EXEC-02)\n", name, text ? text : "missing");
        exit(EXIT_CONFIGURATION);
    }
    return value < LONGEST ? value : LONGEST;
}

/* "1.0" as its octet, 16; 0 for what is no version. "rest" is what follows it. */
static unsigned version(const char *text, const char **rest)
{
    unsigned major, minor;
    int length = 0;

    if (!isdigit((unsigned char)*text) || sscanf(text, "%2u.%n", &major, &length) != 1 || !length)
        return 0;
    text += length;
    if (!isdigit((unsigned char)*text) || sscanf(text, "%2u%n", &minor, &length) != 1)
        return 0;
    *rest = text + length;
    return major >= 1 && major <= 15 && minor <= 15 ? major << 4 | minor : 0;
}

/* One version, or the lowest and the highest with a hyphen between (BC-EXEC-02). */
static int are_versions(const char *text)
{
    unsigned lowest = version(text, &text), highest = lowest;

    if (lowest && *text == '-')
        highest = version(text + 1, &text);
    return lowest && highest >= lowest && !*text;
}

static void start(void)
{
    struct stat found;
    char **to = environ;

    slot = (unsigned)variable("BACKCHANNEL_SLOT", 0, 0);
    capacity = (unsigned)variable("BACKCHANNEL_CAPACITY", 0, 1);
    listeners = (unsigned)variable("BACKCHANNEL_LISTENERS", 0, 1);
    drain_deadline = variable("BACKCHANNEL_DRAIN_DEADLINE", 1, 0);
    if (!getenv("BACKCHANNEL_VERSIONS") || !are_versions(getenv("BACKCHANNEL_VERSIONS"))) {
        fprintf(stderr, "worker: BACKCHANNEL_VERSIONS is missing or senseless\n");
        exit(EXIT_CONFIGURATION);
    }
    if (fstat(CHANNEL, &found) < 0 || !S_ISSOCK(found.st_mode)) {
        fprintf(stderr, "worker: descriptor 3 is not a socket: start it by the exec binding (BC-EXEC-01)\n");
        exit(EXIT_CONFIGURATION);
    }
    set_flags(CHANNEL);
    for (unsigned i = 0; i < listeners; i++) /* and not O_NONBLOCK, which all processes share (BC-WORK-05) */
        if (fcntl(FIRST_LISTENER + (int)i, F_SETFD, FD_CLOEXEC) < 0) {
            fprintf(stderr, "worker: BACKCHANNEL_LISTENERS is %u, and descriptor %u is not open\n", listeners, 4 + i);
            exit(EXIT_CONFIGURATION);
        }
    for (char **at = to; *at; at++) /* they are not for what this process may start (BC-EXEC-05) */
        if (strncmp(*at, "BACKCHANNEL_", 12) != 0)
            *to++ = *at;
    *to = NULL;
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    struct frame hello = {.version = VERSION, .type = IDLE};

    if (argc == 3 && strcmp(argv[1], "--quota") == 0) {
        quota = strtoul(argv[2], NULL, 10);
    } else if (argc != 1) {
        fprintf(stderr, "usage: worker [--quota CONNECTIONS], started by a parent\n");
        return EXIT_CONFIGURATION;
    }
    start();
    if (!make_room()) {
        perror("worker");
        return 1;
    }
    HELLO(hello) = (uint32_t)VERSION << 24 | VERSION << 16 | RESPONSIVE;
    report(hello);
    while (!(draining && (now() >= drain_at || (!opened && !unsent && (mute || told_open == 0)))))
        turn();
    return status;
}
