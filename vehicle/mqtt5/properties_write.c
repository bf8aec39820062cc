/* properties_write.c: property sets to the wire, in ascending order of their identifiers.
 *
 * User properties: first those of `user`, then those found in `encoded` if the bit asks for it, so that a broker
 * forwards what it received in order without taking it apart.
 */
#include "wire.h"

#define REPEATING (MQ5_BIT(MQ5_USER_PROPERTY) | MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER))

static bool forwards(const struct mq5_properties *properties)
{
    return (properties->present & MQ5_BIT(MQ5_USER_PROPERTY)) && properties->encoded.length;
}

/* The set with a bit for each list that has something in it. */
static uint64_t to_write(const struct mq5_properties *properties)
{
    uint64_t set = properties->present & ~REPEATING;
    if (forwards(properties))
        set &= ~MQ5_USER_BLOCK;
    if (properties->user_count || forwards(properties))
        set |= MQ5_BIT(MQ5_USER_PROPERTY);
    if (properties->subscription_id_count)
        set |= MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
    return set;
}

static bool measure_ids(const struct mq5_properties *properties, uint64_t *length)
{
    if (!properties->subscription_ids)
        return false;
    for (uint32_t i = 0; i < properties->subscription_id_count; i++) {
        if (properties->subscription_ids[i] > MQ5_MAX_REMAINING_LENGTH)
            return false;
        *length += 1 + (uint64_t)mq5_vbi_length(properties->subscription_ids[i]);
    }
    return true;
}

static bool measure_user(const struct mq5_properties *properties, uint64_t *length)
{
    struct mq5_user_property pair;
    if (properties->user_count && !properties->user)
        return false;
    for (uint32_t i = 0; i < properties->user_count; i++) {
        if (properties->user[i].name.length > MQ5_MAX_STRING || properties->user[i].value.length > MQ5_MAX_STRING)
            return false;
        *length += UINT64_C(5) + properties->user[i].name.length + properties->user[i].value.length;
    }
    if (forwards(properties))
        for (uint32_t offset = 0; mq5_user_property_next(properties->encoded, &offset, &pair);)
            *length += UINT64_C(5) + pair.name.length + pair.value.length;
    return true;
}

static bool measure_one(const struct mq5_properties *properties, int id, uint64_t *length)
{
    const struct mq5_property_rule *rule = &mq5_property_rules[id];
    const void *field = (const uint8_t *)properties + rule->offset;
    switch (rule->kind) {
    case KIND_U8: *length += 2; return true;
    case KIND_U16: *length += 3; return true;
    case KIND_U32: *length += 5; return true;
    case KIND_TEXT:
    case KIND_BINARY: *length += 3 + ((const struct span *)field)->length; break;
    case KIND_VBI: return measure_ids(properties, length);
    case KIND_PAIR: return measure_user(properties, length);
    default: return false;
    }
    return ((const struct span *)field)->length <= MQ5_MAX_STRING;
}

bool mq5_properties_measure(const struct mq5_properties *properties, uint64_t *length)
{
    *length = 0;
    for (uint64_t set = to_write(properties); set; set &= set - 1) {
        int id = __builtin_ctzll(set);
        if (id >= MQ5_PROPERTY_IDS || !measure_one(properties, id, length))
            return false;
    }
    return true;
}

static uint8_t *write_ids(uint8_t *at, const struct mq5_properties *properties)
{
    for (uint32_t i = 0; i < properties->subscription_id_count; i++) {
        uint32_t value = properties->subscription_ids[i];
        at = mq5_write_vbi(mq5_write_u8(at, MQ5_SUBSCRIPTION_IDENTIFIER), value, mq5_vbi_length(value));
    }
    return at;
}

static uint8_t *write_pair(uint8_t *at, const struct mq5_user_property *pair)
{
    return mq5_write_short(mq5_write_short(mq5_write_u8(at, MQ5_USER_PROPERTY), pair->name), pair->value);
}

static uint8_t *write_user(uint8_t *at, const struct mq5_properties *properties)
{
    struct mq5_user_property pair;
    for (uint32_t i = 0; i < properties->user_count; i++)
        at = write_pair(at, &properties->user[i]);
    if (forwards(properties))
        for (uint32_t offset = 0; mq5_user_property_next(properties->encoded, &offset, &pair);)
            at = write_pair(at, &pair);
    return at;
}

static uint8_t *write_one(uint8_t *at, const struct mq5_properties *properties, int id)
{
    const struct mq5_property_rule *rule = &mq5_property_rules[id];
    const void *field = (const uint8_t *)properties + rule->offset;
    if (rule->kind == KIND_VBI)
        return write_ids(at, properties);
    if (rule->kind == KIND_PAIR)
        return write_user(at, properties);
    at = mq5_write_u8(at, (uint8_t)id);
    switch (rule->kind) {
    case KIND_U8: return mq5_write_u8(at, *(const uint8_t *)field);
    case KIND_U16: return mq5_write_u16(at, *(const uint16_t *)field);
    case KIND_U32: return mq5_write_u32(at, *(const uint32_t *)field);
    default: return mq5_write_binary(at, *(const struct span *)field);
    }
}

uint8_t *mq5_properties_write(uint8_t *at, const struct mq5_properties *properties)
{
    for (uint64_t set = to_write(properties); set; set &= set - 1)
        at = write_one(at, properties, __builtin_ctzll(set));
    return at;
}
