/* The role "codec" of the adapter contract: the frames of frame.h, asked one JSON line at a time.
 *
 * The lines come from the suite, so this is no JSON parser: it finds a key by its name. Nothing of this file is needed
 * to serve connections; it is here so that the vectors of the specification can be put to frame.h before any process
 * is forked.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

static const char *const reasons[REASONS] = {"FILLED", "EMPTY", "PEER", "WORKER", "SYSTEM", "UNUSABLE"};

/* Where the value of "key" starts, or NULL. */
static const char *value(const char *line, const char *key)
{
    char quoted[32];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    at = strstr(line, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static uint32_t number(const char *line, const char *key)
{
    const char *at = value(line, key);

    return at ? (uint32_t)strtoul(at, NULL, 10) : 0;
}

static int is(const char *line, const char *key, const char *expected)
{
    const char *at = value(line, key);

    return at && strncmp(at, expected, strlen(expected)) == 0;
}

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10;
}

/* The octets of a JSON string of hexadecimal digits that starts at "at"; how many there are. */
static size_t unhex(const char *at, uint8_t *octets, size_t room)
{
    size_t n = 0;

    for (at++; isxdigit((unsigned char)at[0]) && isxdigit((unsigned char)at[1]) && n < room; at += 2)
        octets[n++] = (uint8_t)(digit(at[0]) << 4 | digit(at[1]));
    return n;
}

static void hex(const uint8_t octets[FRAME_SIZE])
{
    for (int i = 0; i < FRAME_SIZE; i++)
        printf("%02x", octets[i]);
}

static void decode(const char *line)
{
    uint8_t octets[FRAME_SIZE] = {0};
    enum side from = is(line, "from", "\"parent\"") ? FROM_PARENT : FROM_WORKER;
    int first = is(line, "first", "true");
    struct frame f;
    const char *fault;

    unhex(value(line, "decode"), octets, sizeof octets);
    f = frame_get(octets);
    fault = frame_fault(f, from, first);
    if (fault) {
        printf("{\"reject\": \"%s\"}\n", fault);
        return;
    }
    switch (f.type) {
    case ACCEPT:
        printf("{\"message\": {\"type\": \"ACCEPT\", \"order\": %u, \"listener\": %u, \"max\": %u}}\n", ORDER(f),
               LISTENER(f), MAX(f));
        break;
    case BUSY:
        printf("{\"message\": {\"type\": \"BUSY\", \"order\": %u, \"accepted\": %u, \"reason\": \"%s\", "
               "\"open\": %u, \"capacity\": %u}}\n",
               ORDER(f), ACCEPTED(f), reasons[f.reason], OPEN(f), CAPACITY(f));
        break;
    default:
        printf("{\"message\": {\"type\": \"%s\", \"open\": %u, \"capacity\": %u", f.type == GONE ? "GONE" : "IDLE",
               OPEN(f), CAPACITY(f));
        if (f.type == IDLE && first)
            printf(", \"hello\": {\"lowest\": %u, \"highest\": %u, \"features\": [%s]}", HELLO(f) >> 24,
                   HELLO(f) >> 16 & 0xff, HELLO(f) & RESPONSIVE ? "\"RESPONSIVE\"" : "");
        printf("}}\n");
    }
}

static void encode(const char *line)
{
    struct frame f = {.version = VERSION};
    uint8_t octets[FRAME_SIZE];

    if (is(line, "type", "\"ACCEPT\"")) {
        f.type = ACCEPT;
        ORDER(f) = number(line, "order");
        LISTENER(f) = number(line, "listener");
        MAX(f) = number(line, "max");
    } else {
        OPEN(f) = number(line, "open");
        CAPACITY(f) = number(line, "capacity");
        f.type = is(line, "type", "\"BUSY\"") ? BUSY : is(line, "type", "\"GONE\"") ? GONE : IDLE;
        if (f.type == BUSY) {
            ORDER(f) = number(line, "order");
            ACCEPTED(f) = number(line, "accepted");
            for (uint8_t i = 0; i < REASONS; i++)
                if (strncmp(value(line, "reason") + 1, reasons[i], strlen(reasons[i])) == 0)
                    f.reason = i;
        }
        if (value(line, "hello")) {
            f.version = (uint8_t)number(line, "lowest");
            HELLO(f) = number(line, "lowest") << 24 | number(line, "highest") << 16;
            if (strstr(line, "\"RESPONSIVE\""))
                HELLO(f) |= RESPONSIVE;
        }
    }
    frame_put(octets, f);
    printf("{\"octets\": \"");
    hex(octets);
    printf("\"}\n");
}

/* Each string of the list is what one read gave; the answer lists, for each, the frames that were whole after it. */
static void cut(const char *line)
{
    struct cutter c = {.have = 0};
    const char *at = value(line, "cut") + 1;

    printf("{\"frames\": [");
    for (int reads = 0; (at = strchr(at, '"')); reads++) {
        int frames = 0;
        size_t length = strcspn(at + 1, "\"");

        printf("%s[", reads ? ", " : "");
        for (const char *octet = at; octet < at + length; ) {
            size_t room, came;
            uint8_t *to = cutter_room(&c, &room), whole[FRAME_SIZE];

            came = unhex(octet, to, room);
            c.have += came;
            octet += 2 * came;
            while (cutter_next(&c, whole)) {
                printf("%s\"", frames++ ? ", " : "");
                hex(whole);
                printf("\"");
            }
        }
        printf("]");
        at += length + 2;
    }
    printf("]}\n");
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, stdin) > 0) {
        if (value(line, "decode"))
            decode(line);
        else if (value(line, "encode"))
            encode(line);
        else if (value(line, "cut"))
            cut(line);
        else
            printf("{}\n");
        fflush(stdout);
    }
    free(line);
    return 0;
}
