/* The frames of backchannel 1.0: twenty octets each way, and what is wrong with those that are wrong.
 *
 * From spec/1.0, the pages "Channel and frames", "Messages" and "Versions". Nothing here reads, writes or remembers:
 * the worker and the parent keep the state, and codec.c puts these functions before the vectors.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>
#include <string.h>

enum { FRAME_SIZE = 20, VERSION = 0x10 };
enum { ACCEPT = 'A', BUSY = 'B', GONE = 'G', IDLE = 'I' };
enum { FILLED, EMPTY, PEER, WORKER, SYSTEM, UNUSABLE, REASONS };
enum { RESPONSIVE = 0x0001 };
enum side { FROM_PARENT, FROM_WORKER };

struct frame {
    uint8_t version, type, reason, reserved;
    uint32_t word[4];
};

/* Messages give the words names. */
#define ORDER(f) ((f).word[0])    /* ACCEPT and BUSY */
#define HELLO(f) ((f).word[0])    /* IDLE: octets lowest, highest, then 16 bits of features */
#define LISTENER(f) ((f).word[1]) /* ACCEPT */
#define ACCEPTED(f) ((f).word[1]) /* BUSY */
#define MAX(f) ((f).word[2])      /* ACCEPT */
#define OPEN(f) ((f).word[2])     /* BUSY, GONE and IDLE */
#define CAPACITY(f) ((f).word[3]) /* BUSY, GONE and IDLE */

static inline void frame_put(uint8_t octets[FRAME_SIZE], struct frame f)
{
    octets[0] = f.version;
    octets[1] = f.type;
    octets[2] = f.reason;
    octets[3] = f.reserved;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            octets[4 + 4 * i + j] = (uint8_t)(f.word[i] >> (24 - 8 * j));
}

static inline struct frame frame_get(const uint8_t octets[FRAME_SIZE])
{
    struct frame f = {octets[0], octets[1], octets[2], octets[3], {0, 0, 0, 0}};

    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            f.word[i] = f.word[i] << 8 | octets[4 + 4 * i + j];
    return f;
}

/* The first frame of a worker. It is the only one whose version may be any: the parent must be able to read it. */
static inline const char *hello_fault(struct frame f)
{
    unsigned lowest = HELLO(f) >> 24, highest = HELLO(f) >> 16 & 0xff;

    if (f.type != IDLE || f.reason || f.reserved || f.word[1] || OPEN(f) || CAPACITY(f) < 1)
        return "BC-HELLO-03";
    if (lowest < 1 || highest < lowest)
        return "BC-VER-01";
    if (f.version != lowest)
        return "BC-VER-02";
    return NULL;
}

/* The requirement that the frame breaks, the first one in the order of BC-VIOL-04, or NULL. "first" says that it is
 * the first frame from that side. What depends on earlier frames is for the caller to judge. */
static inline const char *frame_fault(struct frame f, enum side from, int first)
{
    if (first && from == FROM_WORKER)
        return hello_fault(f);
    if (first && f.version != VERSION)
        return "BC-VER-06";
    if (f.version != VERSION || f.reserved)
        return "BC-FRAME-03";
    if (from == FROM_PARENT)
        return f.type != ACCEPT || f.reason || f.word[3] ? "BC-FRAME-03" : NULL;
    switch (f.type) {
    case BUSY:
        return f.reason >= REASONS ? "BC-FRAME-03" : NULL;
    case GONE:
        if (f.reason || f.word[0] || f.word[1])
            return "BC-FRAME-03";
        return OPEN(f) == 0 ? "BC-STATUS-06" : NULL;
    case IDLE:
        if (f.reason || f.word[1])
            return "BC-FRAME-03";
        if (HELLO(f))
            return "BC-HELLO-03"; /* a second hello */
        return OPEN(f) ? "BC-STATUS-06" : NULL;
    default:
        return "BC-FRAME-03";
    }
}

/* A stream, cut into frames: bytes go in as they were read, frames come out as soon as they are whole (BC-CHAN-04). */
struct cutter {
    uint8_t octets[64 * FRAME_SIZE];
    size_t have;
};

/* Where to read the next bytes to, and how many at most; add what came to "have". */
static inline uint8_t *cutter_room(struct cutter *c, size_t *room)
{
    *room = sizeof c->octets - c->have;
    return c->octets + c->have;
}

/* Take the next whole frame out; 0 if there is none. */
static inline int cutter_next(struct cutter *c, uint8_t octets[FRAME_SIZE])
{
    if (c->have < FRAME_SIZE)
        return 0;
    memcpy(octets, c->octets, FRAME_SIZE);
    c->have -= FRAME_SIZE;
    memmove(c->octets, c->octets + FRAME_SIZE, c->have);
    return 1;
}

#endif
