/* ledger.c: one row a vehicle; which numbers were delivered is known exactly for the 64 above window_base and by count below it. */
#include "sim/measure.h"

_Static_assert(sizeof(struct ledger_row) == 40, "bytes a vehicle");

void ledger_intended(struct ledger_row *row, uint32_t number)
{
    if (number > row->intended)
        row->intended = number;
}

/* Everything delivered without a gap leaves the window. */
static void settle(struct ledger_row *row)
{
    uint32_t run = ~row->window ? (uint32_t)__builtin_ctzll(~row->window) : 64;
    row->window = run < 64 ? row->window >> run : 0;
    row->window_base += run;
}

/* Moves the base up by `steps`; the gaps that leave the window are forgotten. */
static void push_out(struct ledger_row *row, uint32_t steps)
{
    uint64_t leaving = steps < 64 ? row->window & ((UINT64_C(1) << steps) - 1) : row->window;
    row->forgotten += steps - (uint32_t)__builtin_popcountll(leaving);
    row->window = steps < 64 ? row->window >> steps : 0;
    row->window_base += steps;
}

void ledger_delivered(struct ledger_row *row, uint32_t number)
{
    if (number == 0)
        return;
    if (number <= row->window_base) {
        row->duplicated++;
        return;
    }
    uint32_t offset = number - row->window_base - 1;
    if (offset >= 64) {
        push_out(row, offset - 63);
        offset = 63;
    }
    uint64_t bit = UINT64_C(1) << offset;
    if (row->window & bit) {
        row->duplicated++;
        return;
    }
    row->window |= bit;
    row->delivered++;
    settle(row);
}

/* A number at or below the base may be one of the forgotten gaps; it is taken as known, so that it excuses no loss. */
static bool known_delivered(const struct ledger_row *row, uint32_t number)
{
    if (number <= row->window_base)
        return true;
    uint32_t offset = number - row->window_base - 1;
    return offset < 64 && (row->window >> offset & 1);
}

void ledger_dropped(struct ledger_row *row, uint32_t number)
{
    if (!known_delivered(row, number))
        row->dropped++;
}

void ledger_pending(struct ledger_row *row, uint32_t number)
{
    if (!known_delivered(row, number))
        row->pending++;
}

static uint32_t at_least_zero(int64_t value)
{
    return value > 0 ? (uint32_t)value : 0;
}

uint32_t ledger_lost(const struct ledger_row *row)
{
    return at_least_zero((int64_t)row->intended - row->delivered - row->dropped - row->pending);
}

void ledger_merge(struct ledger_row *into, const struct ledger_row *from)
{
    struct ledger_row other = *from;
    ledger_intended(into, other.intended);
    into->acknowledged += other.acknowledged;
    into->dropped += other.dropped;
    into->pending += other.pending;
    into->delivered += other.delivered;
    into->duplicated += other.duplicated;
    if (into->window_base < other.window_base)
        push_out(into, other.window_base - into->window_base);
    else
        push_out(&other, into->window_base - other.window_base);
    uint32_t both = (uint32_t)__builtin_popcountll(into->window & other.window);
    into->delivered -= both;
    into->duplicated += both;
    into->window |= other.window;
    /* What one process forgot the other may have seen: below the base only the counts tell. Before settle(), as bit 0 may be set. */
    uint32_t below = into->delivered - (uint32_t)__builtin_popcountll(into->window);
    uint32_t twice = below > into->window_base ? below - into->window_base : 0;
    into->delivered -= twice;
    into->duplicated += twice;
    into->forgotten = into->window_base - (below - twice);
    settle(into);
}

uint32_t ledger_value(const struct ledger_row *row, enum ledger_field field)
{
    switch (field) {
    case LEDGER_INTENDED: return row->intended;
    case LEDGER_ACKNOWLEDGED: return row->acknowledged;
    case LEDGER_UNACKNOWLEDGED: return at_least_zero((int64_t)row->intended - row->acknowledged - row->dropped);
    case LEDGER_DELIVERED: return row->delivered;
    case LEDGER_DUPLICATED: return row->duplicated;
    case LEDGER_DROPPED: return row->dropped;
    case LEDGER_PENDING: return row->pending;
    case LEDGER_LOST: return ledger_lost(row);
    case LEDGER_FIELD_COUNT: break;
    }
    return 0;
}

uint64_t commands_value(const struct ledger_commands *commands, enum commands_field field)
{
    switch (field) {
    case COMMANDS_INTENDED: return commands->intended;
    case COMMANDS_SENT: return commands->sent;
    case COMMANDS_DELIVERED: return commands->delivered;
    case COMMANDS_EXECUTED: return commands->executed;
    case COMMANDS_EXECUTED_TWICE: return commands->executed_twice;
    case COMMANDS_ANSWERED: return commands->answered;
    case COMMANDS_TIMED_OUT: return commands->timed_out;
    case COMMANDS_EXPIRED: return commands->expired;
    case COMMANDS_LOST: return commands->lost;
    case COMMANDS_PENDING: return commands->pending;
    case COMMANDS_ENDED_EXECUTED: return commands->ended_executed;
    case COMMANDS_ENDED_FAILED: return commands->ended_failed;
    case COMMANDS_ENDED_EXPIRED: return commands->ended_expired;
    case COMMANDS_ENDED_REFUSED: return commands->ended_refused;
    case COMMANDS_UNENDED: return commands->unended;
    case COMMANDS_FIELD_COUNT: break;
    }
    return 0;
}
