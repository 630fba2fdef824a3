/* A parent of backchannel 1.0, of the class "minimum", in C11 and POSIX: one listener, a pool of fixed size, and one
 * poll().
 *
 * It alone watches the listener, and only while it could do something about it: no order is unanswered, and somebody
 * has room (BC-WATCH-05). So the pending count is taken as 1 when the listener is readable, and one order is sent at a time
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
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
static const double cool_down = 0.1, early_exit = 5, early_exit_delay = 1, early_exit_delay_ceiling = 32;
enum { SHORT_IN_A_ROW = 3, ORDER_DEADLINE_DOUBLINGS = 10, CAPACITY_CEILING = 1048576, MOST_WORKERS = 4096 };
enum { EXIT_USAGE = 2, EXIT_PROTOCOL = 76, EXIT_CONFIGURATION = 78, INTERRUPTED = 130 };

/* The machine of the page "The parent". A slot that is FREE has no worker; GREETED is STARTING after the hello. */
enum state { FREE, STARTING, GREETED, READY, SUSPECT, DRAINING, LOST, KILLED };

struct worker {
    enum state state;
    pid_t pid;
    int channel; /* -1 once it is closed */
    struct cutter incoming;
    int behind;             /* there may be more to read: no deadline is judged (BC-PASS-02) */
    int unread;             /* of what was there when a deadline passed, so many octets are unread; -1: none has passed */
    uint32_t open, capacity; /* as last reported */
    uint32_t order;         /* the number of the last one sent */
    uint32_t max;           /* of the unanswered order */
    int owes;               /* an answer */
    int is_expired, is_in_flight; /* the unanswered order's deadline has passed; it is in flight */
    double expires_at, deadline; /* of the order; of the state */
    double spawned, cools_until;
    int passed_over, shorts;
    int drained, broke, old; /* for BC-SCALE-12 */
    unsigned long orders, accepted; /* connections */
};

static struct worker *pool; /* indexed by slot */
static unsigned slots;
static int listener = -1, status_socket = -1, wake[2];
static char address[NI_MAXHOST + NI_MAXSERV];
static double listener_cools_until, status_cools_until, spawn_not_before, last_early_exit;
static unsigned expired_in_a_row, early_exits_in_a_row, failed_in_a_row, in_flight;
static int was_ready, ever_ready, stopping, draining_all;
static double stop_at;
static volatile sig_atomic_t got_term, got_int;

/* What the status document counts (the adapter contract says what each one means). */
static struct {
    unsigned long orders, probes, accepted, late, expired, shorts, dead, wakeups, spawned, deaths, kills;
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
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[1024] = "parent: ";
    size_t length = strlen(line);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line + length, sizeof line - length - 1, format, arguments);
    va_end(arguments);
    strcat(line, "\n");
    /* a pipe that nobody reads would stop the pool: the line is lost instead, and so it is on a full disk */
    if (poll(&log, 1, 0) > 0 && log.revents == POLLOUT && write(STDERR_FILENO, line, strlen(line)) < 0)
        return;
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

/* The order that is unanswered is not in flight any more: it was answered, or has expired, or nobody is left to answer. */
static void not_in_flight(struct worker *w)
{
    if (w->is_in_flight)
        in_flight -= w->max;
    w->is_in_flight = 0;
}

/* Nobody is left to answer it. */
static void drop_order(struct worker *w)
{
    if (w->owes && !w->is_expired)
        counters.dead += w->max;
    not_in_flight(w);
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
    if (w->pid > 0 && kill(w->pid, SIGKILL) < 0) /* EPERM: it has become another user. It ends with its channel, or never */
        say("slot %u (pid %ld): %s", slot_of(w), (long)w->pid, strerror(errno));
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
        w->cools_until = now() + cool_down;
        w->order--;
        return 0;
    }
    if (n != FRAME_SIZE) {
        put_down(w, "its channel is full (BC-KILL-02)");
        return 0;
    }
    for (unsigned i = 0; i < expired_in_a_row && i < ORDER_DEADLINE_DOUBLINGS; i++)
        wait *= 2; /* BC-SILENT-02 */
    w->max = max;
    w->owes = 1;
    w->is_expired = 0;
    w->expires_at = max ? now() + wait : 0; /* the welcome has no deadline but that of the start */
    w->is_in_flight = max > 0;
    in_flight += max;
    w->orders += max;
    counters.orders += max;
    counters.probes += !max;
    return 1;
}

/* How long nothing is spawned, after so many failures in a row before this one. */
static double delay_after(unsigned failures)
{
    double delay = early_exit_delay;

    for (unsigned i = 0; i < failures && delay < early_exit_delay_ceiling; i++)
        delay *= 2;
    return delay;
}

/* BC-SCALE-12: nothing is spawned for a while, and longer each time. */
static void delay_spawning(const struct worker *w)
{
    double delay = delay_after(early_exits_in_a_row++);

    last_early_exit = now();
    spawn_not_before = last_early_exit + delay;
    say("slot %u exited early: no worker is spawned for %g s", slot_of(w), delay);
}

static void kill_all(void)
{
    for (unsigned i = 0; i < slots; i++)
        if (pool[i].state != FREE && pool[i].pid > 0) /* kill(0) and kill(-1) would be everybody */
            kill(pool[i].pid, SIGKILL);
}

/* BC-SCALE-13: a worker that can never start stops a parent that has never had one. */
static void give_up(int status, const char *why)
{
    if (ever_ready || stopping)
        return;
    say("no worker can start: the first one %s", why);
    kill_all();
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
        w->cools_until = now() + cool_down;
    if (f.reason == SYSTEM)
        listener_cools_until = now() + cool_down;
    if (f.reason == UNUSABLE) {
        say("slot %u cannot use the listener: drained", slot_of(w));
        delay_spawning(w);
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
        w->cools_until = now() + cool_down;
    }
}

static void busy(struct worker *w, struct frame f)
{
    int late = w->is_expired, was_welcome = w->state == GREETED;

    if (!w->owes || ORDER(f) != w->order || ACCEPTED(f) > w->max || (ACCEPTED(f) == w->max) != (f.reason == FILLED)) {
        violation(w, "BC-BUSY-06");
        return;
    }
    if (OPEN(f) > (uint64_t)w->open + ACCEPTED(f)) {
        violation(w, "BC-STATUS-06");
        return;
    }
    not_in_flight(w);
    w->owes = 0;
    w->open = OPEN(f);
    w->accepted += ACCEPTED(f);
    if (ACCEPTED(f))
        early_exits_in_a_row = 0;
    if (late) {
        counters.late += ACCEPTED(f);
    } else {
        counters.accepted += ACCEPTED(f);
        counters.shorts += w->max - ACCEPTED(f);
    }
    if (!late && w->max)
        expired_in_a_row = 0;
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

/* Read a turn's worth from one channel, and act on it (BC-CHAN-09). The octets that came. */
static int listen_to(struct worker *w)
{
    uint8_t octets[FRAME_SIZE];
    size_t room;
    uint8_t *to = cutter_room(&w->incoming, &room);
    ssize_t n = read(w->channel, to, room);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        w->behind = errno == EINTR;
        return 0;
    }
    if (n <= 0) {
        lose(w); /* ECONNRESET comes after everything that could be read (BC-CHAN-06) */
        return 0;
    }
    w->incoming.have += (size_t)n;
    w->behind = (size_t)n == room; /* a short read says that the channel was empty then */
    if (w->unread > 0)
        w->unread = n < w->unread ? w->unread - (int)n : 0;
    while (w->channel >= 0 && cutter_next(&w->incoming, octets))
        frame(w, octets);
    return (int)n;
}

/* How many octets are there to be read. */
static int waiting_on(const struct worker *w)
{
    int count = 0;

    return w->channel >= 0 && ioctl(w->channel, FIONREAD, &count) == 0 ? count : 0;
}

/* --------------------------------------------------------------------------------------------------------- one pass */

/* BC-SCALE-12 and -13: a worker that exits early delays all spawning; one that can never start stops the parent. */
static void judge_death(struct worker *w, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    int never = code == EXIT_PROTOCOL || code == EXIT_CONFIGURATION || code == 126 || code == 127;
    int early = now() - w->spawned < early_exit && !w->accepted && !w->drained && w->state != KILLED;

    if (never) {
        char why[64];
        snprintf(why, sizeof why, "exited with status %d", code);
        give_up(code, why);
    }
    if (early || never || (w->broke && !w->accepted))
        delay_spawning(w);
}

/* Whether waitpid() has returned it. ECHILD, which nothing here brings about, says that it is no child of ours any more. */
static int has_ended(pid_t pid, int *status)
{
    pid_t found = waitpid(pid, status, WNOHANG);

    if (found < 0 && errno == ECHILD) {
        *status = 0;
        return 1;
    }
    return found == pid;
}

static void reap(void)
{
    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];
        int status;

        if (w->state == FREE || !has_ended(w->pid, &status))
            continue;
        w->pid = 0; /* the number may be another process's from now on */
        /* Its last reports are there by now (BC-DEATH-01). What comes later is a grandchild's, which may hold the other
         * end and write for ever. */
        for (int left = waiting_on(w), came = 1; w->channel >= 0 && left > 0 && came > 0; left -= came)
            came = listen_to(w);
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

        if (w->state != FREE && !w->old && now() - w->spawned > early_exit) {
            w->old = 1;
            if (w->spawned > last_early_exit)
                early_exits_in_a_row = 0;
        }
        if (w->channel >= 0 && polled[i].fd == w->channel && (polled[i].revents || w->behind))
            listen_to(w);
    }
}

static int owes_in_time(const struct worker *w)
{
    return w->owes && w->max && !w->is_expired;
}

/* When this worker's next deadline is; 1e300 for never. */
static double next_deadline(const struct worker *w)
{
    double next = 1e300;

    if (w->state != FREE && w->state != READY && w->state != KILLED)
        next = w->deadline;
    if (owes_in_time(w) && w->expires_at < next)
        next = w->expires_at;
    return next;
}

/* Whether its deadlines may be judged (BC-PASS-02). A worker that writes without a pause never lets its channel run dry:
 * then what was there when the deadline had passed has to be read, for that is all that can have come in time. */
static int is_read(struct worker *w, double t)
{
    if (w->behind && w->unread < 0 && t >= next_deadline(w))
        w->unread = waiting_on(w);
    if (w->behind && w->unread)
        return 0;
    w->unread = -1;
    return 1;
}

static void judge_deadlines(void)
{
    double t = now();

    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];

        if (w->state == FREE || !is_read(w, t))
            continue;
        if (owes_in_time(w) && t >= w->expires_at) {
            say("slot %u has not answered order %u", i, w->order);
            not_in_flight(w); /* its room stays reserved until it answers (BC-ROOM-01) */
            w->is_expired = 1;
            counters.expired += w->max;
            expired_in_a_row++;
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
    return w->state == READY && !w->owes && w->open < w->capacity && w->cools_until <= now();
}

/* Whether there is a point in watching the listener. */
static int can_order(void)
{
    if (listener < 0 || in_flight || listener_cools_until > now())
        return 0;
    for (unsigned i = 0; i < slots; i++)
        if (may_be_ordered(&pool[i]))
            return 1;
    return 0;
}

/* The listener was readable, or not, when poll() was asked; nothing was in flight then, so nothing can have lowered it since. */
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

/* Nothing of the parent's own channel, if it has one, is for its workers. */
static void forget_variables(void)
{
    char **to = environ;

    for (char **at = environ; *at; at++)
        if (strncmp(*at, "BACKCHANNEL_", 12) != 0)
            *to++ = *at;
    *to = NULL;
}

static void become_worker(unsigned slot, int channel, char *command)
{
    char text[64];
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* one that is ignored would stay so (BC-EXEC-04) */
    forget_variables();
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
    if (channel < 0 || listener < 0 || dup2(channel, 3) < 0 || dup2(listener, 4) < 0) {
        say("cannot start a worker: %s", strerror(errno)); /* out of descriptors, perhaps */
        _exit(1);
    }
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
    *w = (struct worker){.state = STARTING, .channel = ends[0], .capacity = UINT32_MAX, .unread = -1, .spawned = now()};
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
    error = colon && strtoul(colon + 1, NULL, 10) <= 65535 ? getaddrinfo(copy, colon + 1, &hints, &found) : EAI_NONAME;
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

/* What may stand where the status socket is to be: nothing, or the socket of a parent that has gone. */
static void remove_stale(const char *path, const struct sockaddr_un *name)
{
    struct stat found;
    int probe;

    if (lstat(path, &found) < 0)
        return; /* bind() will say what is wrong with it, if anything is */
    if (!S_ISSOCK(found.st_mode)) {
        say("--status %s: there is something that is not a socket; move it, or name another path", path);
        exit(EXIT_USAGE);
    }
    probe = socket(AF_UNIX, SOCK_STREAM, 0);
    set_flags(probe); /* one that has stopped would let us wait */
    if (connect(probe, (const struct sockaddr *)name, sizeof *name) == 0 || errno != ECONNREFUSED) {
        say("--status %s: another process answers there, or may; end it, or name another path", path);
        exit(EXIT_USAGE);
    }
    close(probe);
    unlink(path);
}

/* The status document: whoever connects is sent it, and nobody is waited for. It is for the pool's own user. */
static void open_status(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    mode_t before;

    if (strlen(path) >= sizeof name.sun_path) {
        say("--status %s: too long for a socket's name; %zu octets at most", path, sizeof name.sun_path - 1);
        exit(EXIT_USAGE);
    }
    strcpy(name.sun_path, path);
    remove_stale(path, &name);
    status_socket = socket(AF_UNIX, SOCK_STREAM, 0);
    before = umask(0177); /* mode 0600 from its first moment, whatever the umask is */
    if (bind(status_socket, (struct sockaddr *)&name, sizeof name) < 0 || listen(status_socket, 16) < 0) {
        say("--status %s: %s", path, strerror(errno));
        exit(EXIT_USAGE);
    }
    umask(before);
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
        status_cools_until = now() + cool_down;
        return;
    }
    /* A reader that takes nothing is sent what its buffer holds, enough for some thousand workers, and no more. */
    setsockopt(reader, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    set_flags(reader);
    fprintf(to, "{\"spec\": \"1.0\", \"pid\": %ld, \"state\": \"%s\", \"listeners\": [{\"address\": \"%s\"}],\n",
            (long)getpid(), stopping ? "stopping" : "running", address);
    fprintf(to, "\"counters\": {\"orders\": %lu, \"probes\": %lu, \"accepted\": %lu, \"late\": %lu, \"expired\": %lu,\n",
            counters.orders, counters.probes, counters.accepted, counters.late, counters.expired);
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
        kill_all();
        exit(INTERRUPTED);
    }
    if (got_term && !stopping) {
        stopping = 1;
        stop_at = now() + stop_deadline;
    }
    if (!stopping)
        return;
    if (!draining_all && (now() >= stop_at || (!in_flight && !is_readable(listener)))) {
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
    unsigned free_slots = in_state(FREE);

    for (unsigned i = 0; i < slots; i++) {
        struct worker *w = &pool[i];
        if (w->state == FREE || w->state == KILLED)
            continue;
        if (w->behind)
            return 0;
        if (next_deadline(w) < next)
            next = next_deadline(w);
        if (w->cools_until > t && w->cools_until < next)
            next = w->cools_until;
    }
    if (listener_cools_until > t && listener_cools_until < next)
        next = listener_cools_until;
    if (status_cools_until > t && status_cools_until < next)
        next = status_cools_until;
    /* where all slots are taken by workers that drain, there is nothing to be done about it until one has ended */
    if (!stopping && free_slots && slots - free_slots - in_state(DRAINING) < workers && spawn_not_before < next)
        next = spawn_not_before;
    if (next == 1e300)
        return -1;
    if (next - t > 3600) /* an int of milliseconds ends after 24 days */
        return 3600000;
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
    polled[slots + 2] = (struct pollfd){.fd = status_cools_until > now() ? -1 : status_socket, .events = POLLIN};
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
static void hold_signals(void)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigprocmask(SIG_BLOCK, &held, NULL);
    signal(SIGPIPE, SIG_IGN); /* BC-CHAN-05 */
}

/* An option's value, of these characters and within these limits. */
static double number(const char *option, const char *text, const char *digits, double least, double most)
{
    char *end;
    double value = strtod(text, &end); /* which would take "nan", "inf" and "0x10" as well */

    if (!*text || strspn(text, digits) != strlen(text) || *end || value < least || value > most) {
        say("%s %s: give a number from %.0f to %.0f", option, text, least, most);
        exit(EXIT_USAGE);
    }
    return value;
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
    sigset_t none;
    char *command;

    hold_signals();
    for (int i = 1; i + 1 < argc - 1; i += 2) {
        int known = 1;
        if (strcmp(argv[i], "--workers") == 0)
            workers = (unsigned)number(argv[i], argv[i + 1], "0123456789", 1, MOST_WORKERS);
        else if (strcmp(argv[i], "--capacity") == 0)
            capacity = (unsigned)number(argv[i], argv[i + 1], "0123456789", 1, CAPACITY_CEILING);
        else if (strcmp(argv[i], "--listen") == 0)
            where = argv[i + 1];
        else if (strcmp(argv[i], "--status") == 0)
            status = argv[i + 1];
        else
            known = 0;
        for (size_t j = 0; j < sizeof deadlines / sizeof *deadlines; j++)
            if (strcmp(argv[i], deadlines[j].name) == 0) {
                *deadlines[j].value = number(argv[i], argv[i + 1], "0123456789.", 0, 1e9);
                known = 1;
            }
        if (!known)
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
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* now they may come, also where whoever started us had blocked them */
    keep_size(command);
    for (;;)
        pass(command);
}
