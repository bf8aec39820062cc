/* store.c: what the agent itself must know after a power cut, in one small item that is written whole.
 *
 * - Telemetry numbers are never used twice: a block of them is reserved ahead, and what a power cut leaves of it is
 *   skipped.
 * - A command that was begun is never begun again: its id is on record before the car is told. What was under way
 *   when the power went counts as failed.
 * - Whether the certificate has been accepted yet, and whether the server may hold a session of ours.
 * - Which of the two identities is in use: one write changes over.
 *
 * - Which sequence numbers of sealed commands were taken, in the same write as the command that took the last.
 *
 * Layout: version, flags, reserved number (4, little-endian), with FLAG_SEALED highest number taken and 64 bits below it (8 each), then per remembered command its hash (8) and outcome
 * (1). */
#include "agent_internal.h"

enum { STATE_VERSION = 1, STATE_HEAD = 6, STATE_ENTRY = 9 };
enum { FLAG_FRESH_CERTIFICATE = 1, FLAG_SESSION = 2, FLAG_SECOND_SLOT = 4, FLAG_SEALED = 8 };
enum { STATE_SEALED = 16 };

static void put(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *data, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)data[i] << (8 * i);
    return value;
}

bool agent_store_save(struct tcu *tcu)
{
    const struct agent_recent *recent = tcu->recent;
    uint8_t state[STATE_HEAD + STATE_SEALED + AGENT_RECENT * STATE_ENTRY];
    size_t length = STATE_HEAD;
    state[0] = STATE_VERSION;
    state[1] = (uint8_t)((tcu->fresh_certificate ? FLAG_FRESH_CERTIFICATE : 0) |
                         (tcu->session_kept ? FLAG_SESSION : 0) | (tcu->second ? FLAG_SECOND_SLOT : 0));
    put(state + 2, tcu->number + tcu->numbers_left, 4);
    if (tcu->more && tcu->more->sealed_highest > 0) {
        state[1] |= FLAG_SEALED;
        put(state + length, tcu->more->sealed_highest, 8);
        put(state + length + 8, tcu->more->sealed_seen, 8);
        length += STATE_SEALED;
    }
    for (unsigned i = 0; recent && i < AGENT_RECENT; i++) { /* oldest first */
        unsigned at = recent->order[i];
        if (recent->hash[at] == 0)
            continue;
        put(state + length, recent->hash[at], 8);
        state[length + 8] = recent->status[at];
        length += STATE_ENTRY;
    }
    return tcu->port->store_write(tcu->port_context, TCU_STORE_STATE, span_of(state, length));
}

static bool load_sealed(struct tcu *tcu, const uint8_t *at)
{
    struct agent_more *more = agent_more_need(tcu);
    if (!more)
        return false;
    more->sealed_highest = get(at, 8);
    more->sealed_seen = get(at + 8, 8);
    return true;
}

/* What cannot be read is as if it were not there: a TCU with a worn store still connects. false: no memory for the commands in it,
 * and without them one might run twice. */
bool agent_store_load(struct tcu *tcu)
{
    uint8_t state[STATE_HEAD + STATE_SEALED + AGENT_RECENT * STATE_ENTRY];
    size_t length = tcu->port->store_read(tcu->port_context, TCU_STORE_STATE, state, sizeof(state));
    if (length < STATE_HEAD || length > sizeof(state) || state[0] != STATE_VERSION)
        return true;
    size_t begin = STATE_HEAD + (state[1] & FLAG_SEALED ? STATE_SEALED : 0);
    if (length < begin)
        return true;
    if (length >= begin + STATE_ENTRY && !agent_recent_need(tcu))
        return false;
    if (begin > STATE_HEAD && tcu->profile->sealed_commands && !load_sealed(tcu, state + STATE_HEAD))
        return false;
    tcu->fresh_certificate = (state[1] & FLAG_FRESH_CERTIFICATE) != 0;
    tcu->session_kept = (state[1] & FLAG_SESSION) != 0;
    tcu->second = (state[1] & FLAG_SECOND_SLOT) != 0;
    tcu->number = (uint32_t)get(state + 2, 4);
    tcu->numbers_left = 0;
    unsigned count = AGENT_RECENT - (unsigned)((length - begin) / STATE_ENTRY); /* the free places are the oldest */
    for (size_t at = begin; at + STATE_ENTRY <= length; at += STATE_ENTRY, count++) {
        uint8_t status = state[at + 8];
        tcu->recent->hash[count] = get(state + at, 8);
        tcu->recent->status[count] = status == AGENT_SUCCEEDED || status == AGENT_EXPIRED ? status : AGENT_FAILED;
    }
    return true;
}
