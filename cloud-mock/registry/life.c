/* life.c: states of a vehicle, what leads from one to the next, and the history of it: entries are only added, each knows the one before. Most vehicles have
 * few, and one that was only registered has none: its first entry is what its row says.
 */
#include "vehicles_internal.h"

#define NO             (-1)
#define BUILT          CLOUD_VEHICLE_BUILT
#define PROVISIONED    CLOUD_VEHICLE_PROVISIONED
#define ACTIVE         CLOUD_VEHICLE_ACTIVE
#define QUARANTINED    CLOUD_VEHICLE_QUARANTINED
#define WITHOUT_DEVICE CLOUD_VEHICLE_WITHOUT_DEVICE
#define DECOMMISSIONED CLOUD_VEHICLE_DECOMMISSIONED
#define STATES         (DECOMMISSIONED + 1)
#define CHANGES        (CLOUD_CHANGE_DECOMMISSIONED + 1)

/* In the order of enum cloud_vehicle_change: registered, provisioned, active, rotated, revoked, quarantined, owner, device out, device in, decommissioned.
 * A quarantined vehicle leaves that state only by release, by losing its device, or for good; a decommissioned one never leaves its own. */
static const int8_t next_state[STATES][CHANGES] = {
    [BUILT] = {NO, PROVISIONED, NO, NO, BUILT, QUARANTINED, BUILT, WITHOUT_DEVICE, NO, DECOMMISSIONED},
    [PROVISIONED] = {NO, PROVISIONED, ACTIVE, PROVISIONED, QUARANTINED, QUARANTINED, PROVISIONED, WITHOUT_DEVICE, NO,
                     DECOMMISSIONED},
    [ACTIVE] = {NO, ACTIVE, ACTIVE, ACTIVE, QUARANTINED, QUARANTINED, ACTIVE, WITHOUT_DEVICE, NO, DECOMMISSIONED},
    [QUARANTINED] = {NO, QUARANTINED, ACTIVE, QUARANTINED, QUARANTINED, QUARANTINED, QUARANTINED, WITHOUT_DEVICE, NO,
                     DECOMMISSIONED},
    [WITHOUT_DEVICE] = {NO, NO, NO, NO, WITHOUT_DEVICE, NO, WITHOUT_DEVICE, NO, BUILT, DECOMMISSIONED},
    [DECOMMISSIONED] = {NO, NO, NO, NO, DECOMMISSIONED, NO, NO, NO, NO, DECOMMISSIONED},
};

const char *cloud_vehicle_state_name(enum cloud_vehicle_state state)
{
    static const char *const names[STATES] = {"built",       "provisioned",    "active",
                                              "quarantined", "without device", "decommissioned"};
    return (unsigned)state < STATES ? names[state] : "?";
}

const char *cloud_vehicle_change_name(enum cloud_vehicle_change change)
{
    static const char *const names[CHANGES] = {"registered", "provisioned",   "active", "rotated",
                                               "revoked",    "quarantined",   "owner",  "device out",
                                               "device in",  "decommissioned"};
    return (unsigned)change < CHANGES ? names[change] : "?";
}

const char *cloud_vehicles_result_name(enum cloud_vehicles_result result)
{
    static const char *const names[] = {"done",         "bad VIN",      "VIN known",   "reference taken", "unknown",
                                        "device wrong", "device taken", "wrong state", "out of memory"};
    return (unsigned)result < sizeof(names) / sizeof(names[0]) ? names[result] : "?";
}

bool cloud_vehicle_step(enum cloud_vehicle_state *state, enum cloud_vehicle_change change)
{
    if (change == CLOUD_CHANGE_REGISTERED) {
        *state = BUILT;
        return true;
    }
    if ((unsigned)*state >= STATES || (unsigned)change >= CHANGES || next_state[*state][change] == NO)
        return false;
    *state = (enum cloud_vehicle_state)next_state[*state][change];
    return true;
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

static int nibble(uint8_t digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool read_id(struct span text, uint8_t id[32])
{
    if (text.length != 64)
        return false;
    for (int i = 0; i < 32; i++) {
        int high = nibble(text.data[2 * i]), low = nibble(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Certificate ids take their 32 bytes; other words are kept once. false: out of memory. */
static bool keep_detail(struct cloud_vehicles *vehicles, int64_t at_s, struct span detail, uint64_t *kept)
{
    uint8_t id[32];
    *kept = 0;
    if (detail.length == 0)
        return true;
    if (read_id(detail, id)) {
        *kept = ((uint64_t)vehicles->ids.count << 1 | 1) + 1;
        return rows_add(&vehicles->ids, NULL, id);
    }
    uint32_t length = detail.length > NAME_MAX_LENGTH ? NAME_MAX_LENGTH : detail.length;
    uint32_t word = names_intern(&vehicles->words, span_of(detail.data, length), at_s);
    *kept = ((uint64_t)word << 1) + 1;
    return word != NAME_NONE;
}

static void give_detail(const struct cloud_vehicles *vehicles, uint64_t kept, char out[65])
{
    out[0] = 0;
    if (kept == 0)
        return;
    uint32_t number = (uint32_t)((kept - 1) >> 1);
    if (((kept - 1) & 1) == 0) {
        names_text(&vehicles->words, number, out);
        return;
    }
    const uint8_t *id = rows_fixed(&vehicles->ids, number);
    for (int i = 0; i < 32; i++) {
        out[2 * i] = "0123456789abcdef"[id[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    out[64] = 0;
}

/* All three or none. What was there before has room, so going back cannot fail. */
static bool enter_row(struct cloud_vehicles *vehicles, uint32_t number, uint32_t entry, enum cloud_vehicle_state state)
{
    struct rows *rows = &vehicles->rows;
    uint64_t last = rows_get(rows, number, VEHICLE_LAST), changes = rows_get(rows, number, VEHICLE_CHANGES);
    uint64_t kind = rows_get(rows, number, VEHICLE_KIND) >> VEHICLE_STATE_BITS << VEHICLE_STATE_BITS | state;
    if (rows_set(rows, number, VEHICLE_LAST, (uint64_t)entry + 1) &&
        rows_set(rows, number, VEHICLE_CHANGES, changes + 1) && rows_set(rows, number, VEHICLE_KIND, kind))
        return true;
    rows_set(rows, number, VEHICLE_LAST, last);
    rows_set(rows, number, VEHICLE_CHANGES, changes);
    return false;
}

enum cloud_vehicles_result life_enter(struct cloud_vehicles *vehicles, uint32_t number, int64_t at_s,
                                      enum cloud_vehicle_change change, struct span detail)
{
    enum cloud_vehicle_state state = vehicles_state(vehicles, number);
    uint64_t kept;
    if (change == CLOUD_CHANGE_REGISTERED || !cloud_vehicle_step(&state, change))
        return CLOUD_VEHICLES_STATE;
    if (!keep_detail(vehicles, at_s, detail, &kept))
        return CLOUD_VEHICLES_MEMORY;
    uint32_t entry = vehicles->entries.count;
    uint64_t values[ENTRY_COLUMNS] = {
        [ENTRY_AT] = (uint64_t)at_s,
        [ENTRY_CHANGE] = change,
        [ENTRY_PREVIOUS] = rows_get(&vehicles->rows, number, VEHICLE_LAST),
        [ENTRY_DETAIL] = kept,
    };
    return rows_add(&vehicles->entries, values, NULL) && enter_row(vehicles, number, entry, state)
               ? CLOUD_VEHICLES_DONE
               : CLOUD_VEHICLES_MEMORY;
}

uint32_t cloud_vehicles_history(const struct cloud_vehicles *vehicles, struct span reference,
                                struct cloud_vehicle_entry *out, uint32_t capacity)
{
    uint32_t number = vehicles_find(vehicles, reference);
    if (number == NAME_NONE)
        return 0;
    uint32_t length = (uint32_t)rows_get(&vehicles->rows, number, VEHICLE_CHANGES);
    uint64_t next = rows_get(&vehicles->rows, number, VEHICLE_LAST);
    for (uint32_t place = length - 1; place > 0; place--) {
        uint32_t entry = (uint32_t)(next - 1);
        if (place < capacity) {
            out[place].at_s = (int64_t)rows_get(&vehicles->entries, entry, ENTRY_AT);
            out[place].change = (enum cloud_vehicle_change)rows_get(&vehicles->entries, entry, ENTRY_CHANGE);
            give_detail(vehicles, rows_get(&vehicles->entries, entry, ENTRY_DETAIL), out[place].detail);
        }
        next = rows_get(&vehicles->entries, entry, ENTRY_PREVIOUS);
    }
    if (capacity > 0)
        out[0] = (struct cloud_vehicle_entry){vehicles_registered(vehicles, number), CLOUD_CHANGE_REGISTERED, ""};
    return length;
}

uint64_t cloud_vehicles_changes(const struct cloud_vehicles *vehicles)
{
    return (uint64_t)vehicles_count(vehicles) + vehicles->entries.count + vehicles->ecus.rows.count +
           vehicles->ecu_changes;
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static bool is_so_already(enum cloud_vehicle_state state, enum cloud_vehicle_change change)
{
    return (change == CLOUD_CHANGE_ACTIVE && state == ACTIVE) ||
           (change == CLOUD_CHANGE_QUARANTINED && state == QUARANTINED) ||
           (change == CLOUD_CHANGE_DECOMMISSIONED && state == DECOMMISSIONED);
}

enum cloud_vehicles_result cloud_vehicles_note(struct cloud_vehicles *vehicles, int64_t now_s, struct span reference,
                                               enum cloud_vehicle_change change, struct span detail)
{
    uint32_t number = vehicles_find(vehicles, reference);
    if (number == NAME_NONE)
        return CLOUD_VEHICLES_UNKNOWN;
    if (change == CLOUD_CHANGE_OWNER || change == CLOUD_CHANGE_DEVICE_OUT || change == CLOUD_CHANGE_DEVICE_IN)
        return CLOUD_VEHICLES_STATE;
    if (is_so_already(vehicles_state(vehicles, number), change))
        return CLOUD_VEHICLES_DONE;
    return life_enter(vehicles, number, now_s, change, detail);
}

enum cloud_vehicles_result cloud_vehicles_change_owner(struct cloud_vehicles *vehicles, int64_t now_s,
                                                       struct span reference, struct span tenant)
{
    uint32_t number = vehicles_find(vehicles, reference);
    if (number == NAME_NONE || !vehicles_is_text(tenant, CLOUD_TENANT_MAX))
        return CLOUD_VEHICLES_UNKNOWN;
    struct cloud_vehicle before;
    vehicles_copy(vehicles, number, &before);
    enum cloud_vehicle_state state = before.state;
    if (!cloud_vehicle_step(&state, CLOUD_CHANGE_OWNER))
        return CLOUD_VEHICLES_STATE;
    if (!vehicles_set_owner(vehicles, number, tenant, before.owner + 1, now_s))
        return CLOUD_VEHICLES_MEMORY;
    enum cloud_vehicles_result result =
        life_enter(vehicles, number, now_s, CLOUD_CHANGE_OWNER, span_text(before.tenant));
    if (result != CLOUD_VEHICLES_DONE)
        vehicles_set_owner(vehicles, number, span_text(before.tenant), before.owner, before.data_since_s);
    return result;
}
