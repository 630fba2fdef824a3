/* The role "codec" of the adapter contract: the frames of frame.h, asked one JSON line at a time.
 *
 * Nothing of this file is needed to serve connections; it is here so that the vectors of the specification can be put to
 * frame.h before any process is forked. It reads as much JSON as the questions need: whether a line is JSON at all, and
 * the value of a key, found by its name, wherever it stands. Names stand once in a question.
 *
 * Exit status: 0 at the end of its input; 65 (EX_DATAERR) for a line that is no question of the contract, after a
 * message that names the line and says what is wrong with it.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

enum { LONGEST_LINE = 1 << 20, DEEPEST = 16, EXIT_DATA = 65 };

static const char *const reasons[REASONS] = {"FILLED", "EMPTY", "PEER", "WORKER", "SYSTEM", "UNUSABLE"};
static char line[LONGEST_LINE + 1];
static unsigned long lines;

static _Noreturn void bad(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "codec: line %lu: ", lines);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    _Exit(EXIT_DATA); /* half an answer is none */
}

/* ------------------------------------------------------------------------------------------------------------ JSON */

static const char *blanks(const char *at)
{
    return at + strspn(at, " \t\r");
}

/* Behind the string that begins at "at". What is escaped is stepped over: no question needs it. */
static const char *string_end(const char *at)
{
    for (at++; *at != '"'; at++) {
        if (*at == '\\' && at[1])
            at++;
        else if ((unsigned char)*at < ' ')
            bad("a string has no end");
    }
    return at + 1;
}

/* Behind the value that begins at "at": the whole of JSON's grammar, but for what stands in numbers and after "\". */
static const char *value_end(const char *at, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    size_t length;

    if (depth > DEEPEST)
        bad("more than %d values in one another", DEEPEST);
    if (*at == '"')
        return string_end(at);
    if (*at == '{' || *at == '[') {
        char end = *at == '{' ? '}' : ']';
        at = blanks(at + 1);
        if (*at == end)
            return at + 1;
        for (;; at = blanks(at + 1)) {
            if (end == '}') {
                if (*at != '"')
                    bad("a name is missing");
                at = blanks(string_end(at));
                if (*at != ':')
                    bad("a colon is missing");
                at = blanks(at + 1);
            }
            at = blanks(value_end(at, depth + 1));
            if (*at == end)
                return at + 1;
            if (*at != ',')
                bad("no '%c' where a list or an object should go on or end", end);
        }
    }
    length = strspn(at, "-+.eE0123456789");
    for (size_t i = 0; !length && i < sizeof words / sizeof *words; i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            length = strlen(words[i]);
    if (!length)
        bad("this is not JSON");
    return at + length;
}

/* Where the value of "key" starts, or NULL. */
static const char *value(const char *key)
{
    char quoted[32];
    int length = snprintf(quoted, sizeof quoted, "\"%s\"", key);

    for (const char *at = line; (at = strstr(at, quoted)); at += length) {
        const char *behind = blanks(at + length);
        if (*behind == ':')
            return blanks(behind + 1);
    }
    return NULL;
}

static uint32_t number(const char *key)
{
    const char *at = value(key);
    unsigned long long found = 0;
    size_t digits = at ? strspn(at, "0123456789") : 0;

    if (digits && digits <= 10)
        found = strtoull(at, NULL, 10);
    if (!digits || digits > 10 || found > UINT32_MAX || strchr(".eE", at[digits]))
        bad("\"%s\" is not a number from 0 to %u", key, UINT32_MAX);
    return (uint32_t)found;
}

/* Whether the value of "key" is this string. */
static int is(const char *key, const char *expected)
{
    const char *at = value(key);
    size_t length = strlen(expected);

    return at && *at == '"' && strncmp(at + 1, expected, length) == 0 && at[1 + length] == '"';
}

/* Whether the value of "key" is true; a question must say. */
static int flag(const char *key)
{
    const char *at = value(key);

    if (!at || (strncmp(at, "true", 4) != 0 && strncmp(at, "false", 5) != 0))
        bad("\"%s\" is neither true nor false", key);
    return *at == 't';
}

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10;
}

/* The octets of a JSON string of hexadecimal digits, from "*at" on, as many as there is room for. "*at" is then at what
 * is left of it: the closing quote, in the end. */
static size_t unhex(const char **at, uint8_t *octets, size_t room)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (; n < room && **at != '"'; *at += 2) {
        if (!(*at)[0] || !strchr(digits, (*at)[0]) || !(*at)[1] || !strchr(digits, (*at)[1]))
            bad("octets are two hexadecimal digits each, in lower case");
        octets[n++] = (uint8_t)(digit((*at)[0]) << 4 | digit((*at)[1]));
    }
    return n;
}

/* ------------------------------------------------------------------------------------------------------- questions */

static void hex(const uint8_t octets[FRAME_SIZE])
{
    for (int i = 0; i < FRAME_SIZE; i++)
        printf("%02x", octets[i]);
}

static void decode(void)
{
    uint8_t octets[FRAME_SIZE];
    enum side from = is("from", "parent") ? FROM_PARENT : FROM_WORKER;
    const char *at = value("decode"), *fault;
    int first = flag("first");
    struct frame f;

    if (from == FROM_WORKER && !is("from", "worker"))
        bad("\"from\" is neither \"parent\" nor \"worker\"");
    if (*at++ != '"' || unhex(&at, octets, sizeof octets) != sizeof octets || *at != '"')
        bad("\"decode\" is not one frame, %d octets", FRAME_SIZE);
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

static void encode(void)
{
    struct frame f = {.version = VERSION};
    uint8_t octets[FRAME_SIZE];

    if (is("type", "ACCEPT")) {
        f.type = ACCEPT;
        ORDER(f) = number("order");
        LISTENER(f) = number("listener");
        MAX(f) = number("max");
    } else {
        f.type = is("type", "BUSY") ? BUSY : is("type", "GONE") ? GONE : is("type", "IDLE") ? IDLE : 0;
        if (!f.type)
            bad("\"type\" is none of ACCEPT, BUSY, GONE and IDLE");
        OPEN(f) = number("open");
        CAPACITY(f) = number("capacity");
    }
    if (f.type == BUSY) {
        ORDER(f) = number("order");
        ACCEPTED(f) = number("accepted");
        for (f.reason = 0; f.reason < REASONS && !is("reason", reasons[f.reason]); f.reason++)
            ;
        if (f.reason == REASONS)
            bad("\"reason\" is none of the protocol");
    }
    if (f.type == IDLE && value("hello")) {
        uint32_t lowest = number("lowest"), highest = number("highest");
        if (lowest > 255 || highest > 255)
            bad("a version is an octet");
        f.version = (uint8_t)lowest;
        HELLO(f) = lowest << 24 | highest << 16;
        if (strstr(line, "\"RESPONSIVE\""))
            HELLO(f) |= RESPONSIVE;
    }
    frame_put(octets, f);
    printf("{\"octets\": \"");
    hex(octets);
    printf("\"}\n");
}

/* Each string of the list is what one read gave; the answer lists, for each, the frames that were whole after it. */
static void cut(void)
{
    struct cutter c = {.have = 0};
    const char *at = value("cut");
    int reads = 0;

    if (*at != '[')
        bad("\"cut\" is not a list");
    printf("{\"frames\": [");
    for (at = blanks(at + 1); *at != ']'; at = blanks(at)) {
        int frames = 0;

        if (*at++ != '"')
            bad("\"cut\" is not a list of strings");
        printf("%s[", reads++ ? ", " : "");
        while (*at != '"') {
            uint8_t whole[FRAME_SIZE];
            size_t room;
            uint8_t *to = cutter_room(&c, &room);

            c.have += unhex(&at, to, room);
            while (cutter_next(&c, whole)) {
                printf("%s\"", frames++ ? ", " : "");
                hex(whole);
                printf("\"");
            }
        }
        printf("]");
        at = blanks(at + 1);
        at += *at == ',';
    }
    printf("]}\n");
}

/* The next line, without its end. 0: the input has ended. */
static int read_line(void)
{
    size_t length = 0;
    int c;

    lines++;
    while ((c = getchar()) != '\n') {
        if (c == EOF && ferror(stdin))
            bad("it cannot be read");
        if (c == EOF && !length)
            return 0;
        if (c == EOF)
            bad("the input ends within it");
        if (!c)
            bad("it holds an octet 0");
        if (length == LONGEST_LINE)
            bad("it has more than %d octets", LONGEST_LINE);
        line[length++] = (char)c;
    }
    line[length] = '\0';
    return 1;
}

int main(void)
{
    while (read_line()) {
        const char *at = blanks(line);

        if (*at != '{' || *blanks(value_end(at, 0)))
            bad("it is not a JSON object");
        if (value("decode"))
            decode();
        else if (value("encode"))
            encode();
        else if (value("cut"))
            cut();
        else
            bad("it asks for none of \"decode\", \"encode\" and \"cut\"");
        if (fflush(stdout) == EOF) {
            perror("codec: standard output");
            return 1;
        }
    }
    return 0;
}
