/* store.c: what the agent itself must know after a power cut, in one small item that is written whole.
 *
 * - Telemetry numbers are never used twice: a block of them is reserved ahead, and what a power cut leaves of it is
 *   skipped.
 * - A command that was begun is never begun again: its id is on record before the car is told. What was under way
 *   when the power went counts as failed.
 * - Whether the certificate has been accepted yet, and whether the server may hold a session of ours.
 * - Which of the two identities is in use: one write changes over.
 *
 * Layout: version, flags, reserved number (4, little-endian), then per remembered command its hash (8) and outcome
 * (1). */
#include "agent_internal.h"

enum { STATE_VERSION = 1, STATE_HEAD = 6, STATE_ENTRY = 9 };
enum { FLAG_FRESH_CERTIFICATE = 1, FLAG_SESSION = 2, FLAG_SECOND_SLOT = 4 };

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
    uint8_t state[STATE_HEAD + AGENT_RECENT * STATE_ENTRY];
    size_t length = STATE_HEAD;
    state[0] = STATE_VERSION;
    state[1] = (uint8_t)((tcu->fresh_certificate ? FLAG_FRESH_CERTIFICATE : 0) |
                         (tcu->session_kept ? FLAG_SESSION : 0) | (tcu->second ? FLAG_SECOND_SLOT : 0));
    put(state + 2, tcu->number + tcu->numbers_left, 4);
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

/* What cannot be read is as if it were not there: a TCU with a worn store still connects. false: no memory for the commands in it,
 * and without them one might run twice. */
bool agent_store_load(struct tcu *tcu)
{
    uint8_t state[STATE_HEAD + AGENT_RECENT * STATE_ENTRY];
    size_t length = tcu->port->store_read(tcu->port_context, TCU_STORE_STATE, state, sizeof(state));
    if (length < STATE_HEAD || length > sizeof(state) || state[0] != STATE_VERSION)
        return true;
    if (length >= STATE_HEAD + STATE_ENTRY && !agent_recent_need(tcu))
        return false;
    tcu->fresh_certificate = (state[1] & FLAG_FRESH_CERTIFICATE) != 0;
    tcu->session_kept = (state[1] & FLAG_SESSION) != 0;
    tcu->second = (state[1] & FLAG_SECOND_SLOT) != 0;
    tcu->number = (uint32_t)get(state + 2, 4);
    tcu->numbers_left = 0;
    unsigned count =
        AGENT_RECENT - (unsigned)((length - STATE_HEAD) / STATE_ENTRY); /* the free places are the oldest */
    for (size_t at = STATE_HEAD; at + STATE_ENTRY <= length; at += STATE_ENTRY, count++) {
        uint8_t status = state[at + 8];
        tcu->recent->hash[count] = get(state + at, 8);
        tcu->recent->status[count] = status == AGENT_SUCCEEDED || status == AGENT_EXPIRED ? status : AGENT_FAILED;
    }
    return true;
}
