/* A parent of backchannel 1.0, of the class "minimum", in C11 and POSIX: one listener, a pool of fixed size, and one
 * poll().
 *
 * It alone watches the listener, and only while it could do something about it: no order is unanswered, and somebody
 * has room (BC-WATCH-05). So P is taken as 1 when the listener is readable, and one order is sent at a time
 * (BC-PEND-03). Each time it wakes it makes one pass: reports and deaths, then deadlines, then dispatch, then spawning
 * (BC-PASS-01).
 *
 * usage: parent --listen HOST:PORT --workers N [--status PATH] [--DEADLINE SECONDS] COMMAND
 *
 * COMMAND is given to the shell, once for each worker. READY and the address are written to standard output when all N
 * workers are. SIGTERM serves what is pending, then drains; SIGINT kills.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

extern char **environ;

/* Defaults of the specification, in seconds, and what the command line makes of them. */
static double order_deadline = 0.1, silence_deadline = 30, start_deadline = 30, drain_deadline = 30, exit_deadline = 5,
              stop_deadline = 5;
static unsigned workers = 2, capacity = 1;
static const double rest = 0.1, young = 5, young_delay = 1, young_delay_ceiling = 32;
enum { SHORT_IN_A_ROW = 3, ORDER_DEADLINE_DOUBLINGS = 10, CAPACITY_CEILING = 1048576, FRAMES_PER_TURN = 64 };
enum { EXIT_USAGE = 2, EXIT_PROTOCOL = 76, EXIT_CONFIGURATION = 78, INTERRUPTED = 130 };

/* The machine of the page "The parent". A slot that is FREE has no worker; GREETED is STARTING after the hello. */
enum state { FREE, STARTING, GREETED, READY, SUSPECT, DRAINING, LOST, KILLED };

struct worker {
    enum state state;
    pid_t pid;
    int channel; /* -1 once it is closed */
    struct cutter incoming;
    int behind;             /* there may be more to read: no deadline is judged (BC-PASS-02) */
    uint32_t open, capacity; /* as last reported */
    uint32_t order;         /* the number of the last one sent */
    uint32_t max;           /* of the unanswered order */
    int owes;               /* an answer */
    int is_void, is_covered; /* the unanswered order's deadline has passed; it covers a pending connection */
    double void_at, deadline; /* of the order; of the state */
    double spawned, rests_until;
    int passed_over, shorts;
    int drained, broke, old; /* for BC-SCALE-12 */
    unsigned long orders, accepted; /* connections */
};

static struct worker *pool; /* indexed by slot */
static unsigned slots;
static int listener = -1, status_socket = -1, wake[2];
static char address[NI_MAXHOST + NI_MAXSERV];
static double listener_rests_until, status_rests_until, spawn_not_before, last_young_death;
static unsigned voids_in_a_row, young_in_a_row, failed_in_a_row, outstanding; /* outstanding: R */
static int was_ready, ever_ready, stopping, draining_all;
static double stop_at;
static volatile sig_atomic_t got_term, got_int;

/* What the status document counts (the adapter contract says what each one means). */
static struct {
    unsigned long orders, probes, accepted, late, voids, shorts, dead, wakeups, spawned, deaths, kills;
} counters;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A line for the log, if it is taken at once: nobody waits for a reader that stands still. */
static void say(const char *format, ...)
{
    struct pollfd asked = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (poll(&asked, 1, 0) > 0)
        dprintf(STDERR_FILENO, "parent: %s\n", line);
}

static unsigned slot_of(const struct worker *w)
{
    return (unsigned)(w - pool);
}

static void set_flags(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* -------------------------------------------------------------------------------------------- one worker's machine */

/* The order that is unanswered covers nothing any more: it was answered, or is void, or nobody is left to answer. */
static void uncover(struct worker *w)
{
    if (w->is_covered)
        outstanding -= w->max;
    w->is_covered = 0;
}

/* Nobody is left to answer it. */
static void drop_order(struct worker *w)
{
    if (w->owes && !w->is_void)
        counters.dead += w->max;
    uncover(w);
    w->owes = 0;
}

static void close_channel(struct worker *w)
{
    if (w->channel >= 0)
        close(w->channel);
    w->channel = -1;
    w->behind = 0;
    w->incoming.have = 0;
}

/* BC-KILL-01: the state first, then the signal. The slot stays taken until waitpid() has returned it. */
static void put_down(struct worker *w, const char *why)
{
    say("slot %u (pid %ld): killed: %s", slot_of(w), (long)w->pid, why);
    drop_order(w);
    close_channel(w);
    counters.kills++;
    w->state = KILLED;
    if (w->pid > 0)
        kill(w->pid, SIGKILL);
}

static void violation(struct worker *w, const char *requirement)
{
    say("slot %u broke %s", slot_of(w), requirement);
    w->broke = 1;
    put_down(w, requirement);
}

/* End-of-file (BC-DEATH-02): the worker has closed its channel, or died. */
static void lose(struct worker *w)
{
    drop_order(w);
    close_channel(w);
    w->state = LOST;
    w->deadline = now() + exit_deadline;
}

/* BC-DRAIN-01: half-close, in the stream behind any order, and no signal. */
static void drain(struct worker *w)
{
    w->drained = 1;
    shutdown(w->channel, SHUT_WR);
    w->state = DRAINING;
    w->deadline = now() + drain_deadline;
}

/* Send an ACCEPT. 0: the worker cannot be ordered any more. */
static int order(struct worker *w, uint32_t max)
{
    struct frame f = {.version = VERSION, .type = ACCEPT};
    uint8_t octets[FRAME_SIZE];
    double wait = order_deadline;
    ssize_t n;

    w->order = w->order == UINT32_MAX ? 1 : w->order + 1;
    ORDER(f) = w->order;
    MAX(f) = max;
    frame_put(octets, f);
    do
        n = write(w->channel, octets, sizeof octets);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
        w->behind = 1; /* its end will be read, after what it has still written (BC-CHAN-06) */
        w->rests_until = now() + rest;
        w->order--;
        return 0;
    }
    if (n != FRAME_SIZE) {
        put_down(w, "its channel is full (BC-KILL-02)");
        return 0;
    }
    for (unsigned i = 0; i < voids_in_a_row && i < ORDER_DEADLINE_DOUBLINGS; i++)
        wait *= 2; /* BC-SILENT-02 */
    w->max = max;
    w->owes = 1;
    w->is_void = 0;
    w->void_at = max ? now() + wait : 0; /* the welcome has no deadline but that of the start */
    w->is_covered = max > 0;
    outstanding += max;
    w->orders += max;
    counters.orders += max;
    counters.probes += !max;
    return 1;
}

/* How long nothing is spawned, after so many failures in a row before this one. */
static double delay_after(unsigned failures)
{
    double delay = young_delay;

    for (unsigned i = 0; i < failures && delay < young_delay_ceiling; i++)
        delay *= 2;
    return delay;
}

/* BC-SCALE-12: nothing is spawned for a while, and longer each time. */
static void died_young(const struct worker *w)
{
    double delay = delay_after(young_in_a_row++);

    last_young_death = now();
    spawn_not_before = last_young_death + delay;
    say("slot %u died young: no worker is spawned for %g s", slot_of(w), delay);
}

/* BC-SCALE-13: a worker that can never start stops a parent that has never had one. */
static void give_up(int status, const char *why)
{
    if (ever_ready || stopping)
        return;
    say("no worker can start: the first one %s", why);
    for (unsigned i = 0; i < slots; i++)
        if (pool[i].state != FREE && pool[i].pid > 0)
            kill(pool[i].pid, SIGKILL);
    exit(status);
}

static void hello(struct worker *w, struct frame f)
{
    const char *fault = hello_fault(f);
    unsigned lowest = HELLO(f) >> 24, highest = HELLO(f) >> 16 & 0xff;

    if (fault) {
        violation(w, fault);
        return;
    }
    if (lowest > VERSION || highest < VERSION) {
        say("slot %u speaks versions %u.%u to %u.%u, this parent %u.%u", slot_of(w), lowest >> 4, lowest & 15,
            highest >> 4, highest & 15, VERSION >> 4, VERSION & 15);
        w->broke = 1;
        put_down(w, "no common version (BC-VER-05)");
        give_up(EXIT_PROTOCOL, "speaks no version of this parent");
        return;
    }
    if (CAPACITY(f) > CAPACITY_CEILING) {
        violation(w, "BC-STATUS-07");
        return;
    }
    w->capacity = CAPACITY(f);
    failed_in_a_row = 0;
    if (w->state == DRAINING)
        return; /* too late for a welcome: the worker reads end-of-file next */
    w->state = GREETED;
    order(w, 0);
}

/* What a short answer, or a reason, means for the next orders (BC-SHORT-01 to -04). */
static void judge_answer(struct worker *w, struct frame f, int late)
{
    if (f.reason == WORKER)
        w->rests_until = now() + rest;
    if (f.reason == SYSTEM)
        listener_rests_until = now() + rest;
    if (f.reason == UNUSABLE) {
        say("slot %u cannot use the listener: drained", slot_of(w));
        died_young(w);
        if (w->state == READY)
            drain(w);
    }
    if (ACCEPTED(f))
        w->shorts = 0;
    if (ACCEPTED(f) == w->max)
        return;
    w->passed_over = 1;
    if (!late && f.reason != PEER && !ACCEPTED(f) && ++w->shorts >= SHORT_IN_A_ROW) {
        w->shorts = 0;
        w->rests_until = now() + rest;
    }
}

static void busy(struct worker *w, struct frame f)
{
    int late = w->is_void, was_welcome = w->state == GREETED;

    if (!w->owes || ORDER(f) != w->order || ACCEPTED(f) > w->max || (ACCEPTED(f) == w->max) != (f.reason == FILLED)) {
        violation(w, "BC-BUSY-06");
        return;
    }
    if (OPEN(f) > (uint64_t)w->open + ACCEPTED(f)) {
        violation(w, "BC-STATUS-06");
        return;
    }
    uncover(w);
    w->owes = 0;
    w->open = OPEN(f);
    w->accepted += ACCEPTED(f);
    if (ACCEPTED(f))
        young_in_a_row = 0;
    if (late) {
        counters.late += ACCEPTED(f);
    } else {
        counters.accepted += ACCEPTED(f);
        counters.shorts += w->max - ACCEPTED(f);
    }
    if (!late && w->max)
        voids_in_a_row = 0;
    if (was_welcome || w->state == SUSPECT)
        w->state = READY;
    ever_ready |= was_welcome;
    judge_answer(w, f, late);
}

static void report(struct worker *w, struct frame f)
{
    if (OPEN(f) > w->open || (OPEN(f) == w->open && CAPACITY(f) == w->capacity)) {
        violation(w, "BC-STATUS-06");
        return;
    }
    w->open = OPEN(f);
}

static void frame(struct worker *w, const uint8_t octets[FRAME_SIZE])
{
    struct frame f = frame_get(octets);
    const char *fault;

    /* the hello is the first frame, and a worker that is being drained may still be sending it */
    if (w->capacity == UINT32_MAX) {
        hello(w, f);
        return;
    }
    fault = frame_fault(f, FROM_WORKER, 0);
    if (!fault && CAPACITY(f) > CAPACITY_CEILING)
        fault = "BC-STATUS-07";
    if (!fault && w->state == GREETED && f.type != BUSY)
        fault = "BC-HELLO-05";
    if (fault) {
        violation(w, fault);
        return;
    }
    if (f.type == BUSY)
        busy(w, f);
    else
        report(w, f);
    if (w->state == KILLED)
        return;
    if (!w->capacity && CAPACITY(f)) {
        violation(w, "BC-CAP-03");
        return;
    }
    w->capacity = CAPACITY(f);
    if (!w->capacity && w->state != DRAINING)
        drain(w); /* retiring (BC-CAP-03) */
}

/* Read a turn's worth from one channel, and act on it (BC-CHAN-09). */
static void listen_to(struct worker *w)
{
    uint8_t octets[FRAME_SIZE];
    size_t room;
    uint8_t *to = cutter_room(&w->incoming, &room);
    ssize_t n = read(w->channel, to, room);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        w->behind = errno == EINTR;
        return;
    }
    if (n <= 0) {
        lose(w); /* ECONNRESET comes after everything that could be read (BC-CHAN-06) */
        return;
    }
    w->incoming.have += (size_t)n;
    w->behind = (size_t)n == room; /* a short read says that the channel was empty then */
    while (w->channel >= 0 && cutter_next(&w->incoming, octets))
        frame(w, octets);
}

/* --------------------------------------------------------------------------------------------------------- one pass */

/* BC-SCALE-12 and -13: a worker that dies young delays all spawning; one that can never start stops the parent. */
static void judge_death(struct worker *w, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    int never = code == EXIT_PROTOCOL || code == EXIT_CONFIGURATION || code == 126 || code == 127;
    int early = now() - w->spawned < young && !w->accepted && !w->drained && w->state != KILLED;

    if (never) {
        char why[64];
        snprintf(why, sizeof why, "exited with status %d", code);
        give_up(code, why);
    }
    if (early || never || (w->broke && !w->accepted))
        died_young(w);
}

static void reap(void)
{
    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];
        int status;

        if (w->state == FREE || waitpid(w->pid, &status, WNOHANG) != w->pid)
            continue;
        w->pid = 0; /* the number may be another process's from now on */
        do { /* its last reports, to the end or to would-block: a grandchild may hold the other end (BC-DEATH-01) */
            w->behind = 0;
            if (w->channel >= 0)
                listen_to(w);
        } while (w->channel >= 0 && w->behind);
        drop_order(w);
        close_channel(w);
        counters.deaths += !w->drained && w->state != KILLED;
        judge_death(w, status);
        w->state = FREE;
    }
}

static void read_reports(const struct pollfd *polled)
{
    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];

        if (w->state != FREE && !w->old && now() - w->spawned > young) {
            w->old = 1;
            if (w->spawned > last_young_death)
                young_in_a_row = 0;
        }
        if (w->channel >= 0 && polled[i].fd == w->channel && (polled[i].revents || w->behind))
            listen_to(w);
    }
}

static void judge_deadlines(void)
{
    double t = now();

    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];

        if (w->state == FREE || w->behind)
            continue;
        if (w->owes && w->max && !w->is_void && t >= w->void_at) {
            say("slot %u has not answered order %u", i, w->order);
            uncover(w); /* its room stays reserved until it answers (BC-ROOM-01) */
            w->is_void = 1;
            counters.voids += w->max;
            voids_in_a_row++;
            if (w->state == READY) {
                w->state = SUSPECT;
                w->deadline = t + silence_deadline;
            }
        }
        if (w->state == READY || w->state == KILLED || t < w->deadline)
            continue;
        w->broke = w->state == STARTING || w->state == GREETED;
        put_down(w, w->broke ? "it did not start in time (BC-KILL-03)"
                 : w->state == SUSPECT ? "it does not answer (BC-SILENT-05)"
                 : w->state == DRAINING ? "it did not finish in time (BC-DRAIN-02)"
                                        : "it does not exit (BC-DEATH-03)");
    }
}

/* BC-ORDER-02, but for being passed over. */
static int may_be_ordered(const struct worker *w)
{
    return w->state == READY && !w->owes && w->open < w->capacity && w->rests_until <= now();
}

/* Whether there is a point in watching the listener. */
static int can_order(void)
{
    if (listener < 0 || outstanding || listener_rests_until > now())
        return 0;
    for (unsigned i = 0; i < slots; i++)
        if (may_be_ordered(&pool[i]))
            return 1;
    return 0;
}

/* The listener was readable, or not, when poll() was asked; R was 0 then, so nothing can have lowered it since. */
static void dispatch(int readable)
{
    for (unsigned i = 0; i < slots && !readable; i++) /* its queue was seen empty */
        pool[i].passed_over = pool[i].shorts = 0;
    for (int again = 0; readable && again < 2; again++) {
        for (unsigned i = 0; i < slots; i++) /* policy "lowest" (BC-PICK-01) */
            if (may_be_ordered(&pool[i]) && !pool[i].passed_over && order(&pool[i], 1))
                return;
        for (unsigned i = 0; i < slots; i++) /* all that could be chosen were passed over: begin again (BC-SHORT-01) */
            pool[i].passed_over = 0;
    }
}

/* ---------------------------------------------------------------------------------------------------- the exec binding */

static void become_worker(unsigned slot, int channel, char *command)
{
    char text[64];
    sigset_t none;

    for (int number = 1; number < 32; number++)
        signal(number, SIG_DFL); /* one that is ignored would stay so (BC-EXEC-04) */
    for (char **at = environ; *at;) {
        char name[64];
        if (strncmp(*at, "BACKCHANNEL_", 12) == 0 && strcspn(*at, "=") < sizeof name) {
            snprintf(name, strcspn(*at, "=") + 1, "%s", *at);
            unsetenv(name);
        } else {
            at++;
        }
    }
    snprintf(text, sizeof text, "%u", slot);
    setenv("BACKCHANNEL_SLOT", text, 1);
    snprintf(text, sizeof text, "%u", capacity);
    setenv("BACKCHANNEL_CAPACITY", text, 1);
    snprintf(text, sizeof text, "%.6f", drain_deadline);
    setenv("BACKCHANNEL_DRAIN_DEADLINE", text, 1);
    setenv("BACKCHANNEL_LISTENERS", "1", 1);
    setenv("BACKCHANNEL_VERSIONS", "1.0", 1);
    /* above the places first, so that neither is overwritten before it has been copied */
    channel = fcntl(channel, F_DUPFD, 5);
    listener = fcntl(listener, F_DUPFD, 5);
    dup2(channel, 3);
    dup2(listener, 4);
    close(channel);
    close(listener);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* BC-SCALE-14: the system has nothing to make a worker of, so asking again at once is of no use. */
static void could_not_spawn(const char *what, int error)
{
    double delay = delay_after(failed_in_a_row++);

    say("cannot start a worker: %s: %s; trying again in %g s", what, strerror(error), delay);
    spawn_not_before = now() + delay;
}

static void spawn(char *command)
{
    struct worker *w = NULL;
    int ends[2];

    for (unsigned i = slots; i-- > 0;) /* the smallest slot that no living worker has (BC-SCALE-10) */
        if (pool[i].state == FREE)
            w = &pool[i];
    if (!w)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        could_not_spawn("no channel", errno);
        return;
    }
    set_flags(ends[0]);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    *w = (struct worker){.state = STARTING, .channel = ends[0], .capacity = UINT32_MAX, .spawned = now()};
    w->deadline = w->spawned + start_deadline;
    w->pid = fork();
    if (w->pid == 0)
        become_worker(slot_of(w), ends[1], command);
    if (w->pid < 0) {
        could_not_spawn("no process", errno);
        close_channel(w);
        w->state = FREE;
    } else {
        counters.spawned++;
    }
    close(ends[1]);
}

/* Replace the dead; DRAINING workers take no place in the pool (BC-SCALE-09, -11). */
static void keep_size(char *command)
{
    unsigned count = 0;

    for (unsigned i = 0; i < slots; i++)
        count += pool[i].state != FREE && pool[i].state != DRAINING;
    for (; count < workers && !stopping && now() >= spawn_not_before; count++)
        spawn(command);
}

/* ------------------------------------------------------------------------------------------------------ start and stop */

static void caught(int number)
{
    int before = errno;

    got_term |= number == SIGTERM;
    got_int |= number == SIGINT;
    if (write(wake[1], "", 1) < 0)
        errno = before; /* the pipe is full, so the loop will wake anyway */
    errno = before;
}

static void open_listener(const char *where)
{
    char host[NI_MAXHOST], service[NI_MAXSERV], copy[NI_MAXHOST + NI_MAXSERV];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char *colon;
    int on = 1, error;

    snprintf(copy, sizeof copy, "%s", where);
    colon = strrchr(copy, ':');
    if (colon)
        *colon = '\0';
    if (copy[0] == '[' && copy[strlen(copy) - 1] == ']') {
        copy[strlen(copy) - 1] = '\0';
        memmove(copy, copy + 1, strlen(copy));
    }
    error = colon ? getaddrinfo(copy, colon + 1, &hints, &found) : EAI_NONAME;
    if (error) {
        say("--listen %s: %s; write HOST:PORT or [HOST]:PORT, in figures", where, gai_strerror(error));
        exit(EXIT_USAGE);
    }
    listener = socket(found->ai_family, SOCK_STREAM, 0);
    if (listener >= 0)
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, found->ai_addr, found->ai_addrlen) < 0 || listen(listener, 4096) < 0) {
        say("cannot listen on %s: %s", where, strerror(errno));
        exit(EXIT_USAGE);
    }
    set_flags(listener); /* before the first fork; nobody clears it (BC-FORK-01) */
    getsockname(listener, (struct sockaddr *)&bound, &length);
    getnameinfo((struct sockaddr *)&bound, length, host, sizeof host, service, sizeof service,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(address, sizeof address, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
    freeaddrinfo(found);
}

/* The status document: whoever connects is sent it, and nobody is waited for. */
static void open_status(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof name.sun_path) {
        say("--status %s: too long for a socket's name; %zu octets at most", path, sizeof name.sun_path - 1);
        exit(EXIT_USAGE);
    }
    strcpy(name.sun_path, path);
    unlink(path);
    status_socket = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(status_socket, (struct sockaddr *)&name, sizeof name) < 0 || listen(status_socket, 16) < 0) {
        say("--status %s: %s", path, strerror(errno));
        exit(EXIT_USAGE);
    }
    set_flags(status_socket);
}

static void tell_status(void)
{
    static const char *const names[] = {"", "STARTING", "STARTING", "READY", "SUSPECT", "DRAINING", "LOST", "KILLED"};
    int reader = accept(status_socket, NULL, NULL), first = 1, buffer = 1 << 20;
    FILE *to = reader < 0 ? NULL : fdopen(reader, "w");

    if (!to) { /* out of descriptors, perhaps: whoever waits makes poll() return at once until then */
        if (reader >= 0)
            close(reader);
        status_rests_until = now() + rest;
        return;
    }
    setsockopt(reader, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    set_flags(reader);
    fprintf(to, "{\"spec\": \"1.0\", \"pid\": %ld, \"state\": \"%s\", \"listeners\": [{\"address\": \"%s\"}],\n",
            (long)getpid(), stopping ? "stopping" : "running", address);
    fprintf(to, "\"counters\": {\"orders\": %lu, \"probes\": %lu, \"accepted\": %lu, \"late\": %lu, \"voids\": %lu,\n",
            counters.orders, counters.probes, counters.accepted, counters.late, counters.voids);
    fprintf(to, "\"short\": %lu, \"dead\": %lu, \"wakeups\": %lu, \"spawned\": %lu, \"deaths\": %lu, \"kills\": %lu,\n",
            counters.shorts, counters.dead, counters.wakeups, counters.spawned, counters.deaths, counters.kills);
    fprintf(to, "\"retired\": 0},\n\"workers\": ["); /* nobody is one too many in a pool of fixed size */
    for (unsigned i = 0; i < slots; i++) {
        const struct worker *w = &pool[i];
        if (w->state == FREE)
            continue;
        fprintf(to, "%s\n{\"slot\": %u, \"pid\": %ld, \"state\": \"%s\", \"open\": %u, \"capacity\": %u, ",
                first ? "" : ",", i, (long)w->pid, names[w->state], w->open, w->capacity == UINT32_MAX ? 0 : w->capacity);
        fprintf(to, "\"orders\": %lu, \"accepted\": %lu}", w->orders, w->accepted);
        first = 0;
    }
    fprintf(to, "]}\n");
    fclose(to);
}

static unsigned in_state(enum state state)
{
    unsigned count = 0;

    for (unsigned i = 0; i < slots; i++)
        count += pool[i].state == state;
    return count;
}

static int is_readable(int fd)
{
    struct pollfd asked = {.fd = fd, .events = POLLIN};

    return poll(&asked, 1, 0) > 0;
}

/* BC-STOP-01: go on until nothing is pending and no order is unanswered, or the deadline; then drain everybody. */
static void stop(void)
{
    if (got_int) {
        for (unsigned i = 0; i < slots; i++)
            if (pool[i].state != FREE)
                kill(pool[i].pid, SIGKILL);
        exit(INTERRUPTED);
    }
    if (got_term && !stopping) {
        stopping = 1;
        stop_at = now() + stop_deadline;
    }
    if (!stopping)
        return;
    if (!draining_all && (now() >= stop_at || (!outstanding && !is_readable(listener)))) {
        draining_all = 1;
        for (unsigned i = 0; i < slots; i++)
            if (pool[i].state == STARTING || pool[i].state == GREETED)
                put_down(&pool[i], "it was still starting at the stop, and holds nothing"); /* BC-STOP-04 */
            else if (pool[i].channel >= 0 && pool[i].state != DRAINING)
                drain(&pool[i]);
        close(listener);
        listener = -1;
    }
    if (draining_all && in_state(FREE) == slots)
        exit(0);
}

/* When poll() must return although nothing happens, in milliseconds; -1 for never. */
static int patience(void)
{
    double next = stopping && !draining_all ? stop_at : 1e300, t = now();

    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];
        if (w->state == FREE || w->state == KILLED)
            continue;
        if (w->behind)
            return 0;
        if (w->owes && w->max && !w->is_void && w->void_at < next)
            next = w->void_at;
        if (w->state != READY && w->deadline < next)
            next = w->deadline;
        if (w->rests_until > t && w->rests_until < next)
            next = w->rests_until;
    }
    if (listener_rests_until > t && listener_rests_until < next)
        next = listener_rests_until;
    if (status_rests_until > t && status_rests_until < next)
        next = status_rests_until;
    if (!stopping && slots - in_state(FREE) - in_state(DRAINING) < workers && spawn_not_before < next)
        next = spawn_not_before;
    if (next == 1e300)
        return -1;
    return next <= t ? 0 : (int)((next - t) * 1000) + 1;
}

static void pass(char *command)
{
    struct pollfd polled[slots + 3];
    int watched = can_order();
    char octets[64];

    for (unsigned i = 0; i < slots; i++)
        polled[i] = (struct pollfd){.fd = pool[i].channel, .events = POLLIN};
    polled[slots] = (struct pollfd){.fd = watched ? listener : -1, .events = POLLIN};
    polled[slots + 1] = (struct pollfd){.fd = wake[0], .events = POLLIN};
    polled[slots + 2] = (struct pollfd){.fd = status_rests_until > now() ? -1 : status_socket, .events = POLLIN};
    if (poll(polled, slots + 3, patience()) < 0) {
        if (errno == EINTR)
            return;
        say("poll: %s", strerror(errno));
        exit(1);
    }
    counters.wakeups++;
    read_reports(polled);
    if (polled[slots + 1].revents) {
        while (read(wake[0], octets, sizeof octets) > 0)
            ;
        reap();
    }
    judge_deadlines();
    if (watched)
        dispatch(polled[slots].revents != 0);
    keep_size(command);
    if (polled[slots + 2].revents)
        tell_status();
    stop();
    if (!was_ready && in_state(READY) == workers) {
        was_ready = 1;
        printf("READY %s\n", address);
        fflush(stdout);
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: parent --listen HOST:PORT --workers N [--capacity N] [--status PATH]\n"
                    "              [--order-deadline S] [--silence-deadline S] [--start-deadline S]\n"
                    "              [--drain-deadline S] [--exit-deadline S] [--stop-deadline S] COMMAND\n");
    return EXIT_USAGE;
}

/* The first thing: signals wait until there is somebody to obey them. */
static sigset_t hold_signals(void)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigprocmask(SIG_BLOCK, &held, NULL);
    signal(SIGPIPE, SIG_IGN); /* BC-CHAN-05 */
    return held;
}

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        double *value;
    } deadlines[] = {
        {"--order-deadline", &order_deadline}, {"--silence-deadline", &silence_deadline},
        {"--start-deadline", &start_deadline}, {"--drain-deadline", &drain_deadline},
        {"--exit-deadline", &exit_deadline},   {"--stop-deadline", &stop_deadline},
    };
    struct sigaction action = {.sa_handler = caught};
    const char *where = NULL, *status = NULL;
    char *command;
    sigset_t held = hold_signals();

    for (int i = 1; i + 1 < argc - 1; i += 2) {
        char *end = argv[i + 1];
        double value = strtod(argv[i + 1], &end);
        int known = 0;
        for (size_t j = 0; j < sizeof deadlines / sizeof *deadlines; j++)
            if (strcmp(argv[i], deadlines[j].name) == 0) {
                *deadlines[j].value = value;
                known = 1;
            }
        if (strcmp(argv[i], "--workers") == 0 && (known = value >= 1))
            workers = (unsigned)value;
        if (strcmp(argv[i], "--capacity") == 0 && (known = value >= 1))
            capacity = (unsigned)value;
        if (strcmp(argv[i], "--listen") == 0)
            where = argv[i + 1];
        else if (strcmp(argv[i], "--status") == 0)
            status = argv[i + 1];
        else if (!known || *end || value < 0)
            return usage();
    }
    if (!where || argc % 2)
        return usage();
    slots = 2 * workers; /* as many may be draining as are serving */
    pool = calloc(slots, sizeof *pool);
    command = malloc(strlen(argv[argc - 1]) + sizeof "exec "); /* the shell is not to stay between us and the worker */
    if (!pool || !command || pipe(wake) < 0) {
        say("%s", strerror(errno));
        return 1;
    }
    sprintf(command, "exec %s", argv[argc - 1]);
    for (unsigned i = 0; i < slots; i++)
        pool[i].channel = -1;
    set_flags(wake[0]);
    set_flags(wake[1]);
    open_listener(where);
    if (status)
        open_status(status);
    sigaction(SIGCHLD, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &held, NULL);
    keep_size(command);
    for (;;)
        pass(command);
}
