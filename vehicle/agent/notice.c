/* notice.c: what the cloud tells the car of its own accord: the weather, a hazard ahead, an update that waits.
 *
 * The broker drops a notice whose time is over before it goes out (message expiry interval); what was on its way then, or comes again
 * because its acknowledgement was lost, is thrown away here by the time in it. 3.1.1 has no expiry on the wire; the body says the same in both. */
#include "agent_internal.h"

#include "mqtt5/topic.h"

struct span agent_notice_filter(const struct tcu *tcu, char *out)
{
    char pattern[sizeof(tcu->profile->topics.notices) + 2];
    size_t length = strlen(tcu->profile->topics.notices);
    if (length == 0)
        return (struct span){NULL, 0};
    memcpy(pattern, tcu->profile->topics.notices, length);
    memcpy(pattern + length, "+", 2);
    return agent_text_expand(pattern, tcu_name(tcu), out);
}

static bool number_of(struct span body, const char *name, int64_t *number)
{
    struct span value;
    return agent_json_member(body, name, &value) == AGENT_JSON_FOUND && agent_json_number(value, number);
}

bool agent_notice_message(struct tcu *tcu, const struct mq5_publish *publish)
{
    char filter[AGENT_TOPIC_MAX], kind[24];
    struct span wanted = agent_notice_filter(tcu, filter), value;
    size_t length = 0;
    int64_t number = 0, until_us = 0;
    if (wanted.length == 0 || !mq5_topic_matches(wanted, publish->topic))
        return false;
    if (agent_json_member(publish->payload, "notice", &value) != AGENT_JSON_FOUND ||
        !agent_json_text(value, kind, sizeof(kind), &length) || !number_of(publish->payload, "n", &number) ||
        !number_of(publish->payload, "until", &until_us) || number > UINT32_MAX)
        return true; /* nothing that can be shown */
    bool late = until_us > 0 && tcu->port->wall_us(tcu->port_context, tcu->now_us) > until_us;
    uint8_t how = (uint8_t)((late ? TCU_NOTICE_LATE : 0) | (publish->dup ? TCU_NOTICE_AGAIN : 0) |
                            (publish->retain ? TCU_NOTICE_KEPT : 0));
    if (tcu->port->probe)
        agent_probe(tcu, TCU_PROBE_NOTICE, how, (uint32_t)number, until_us, span_of(kind, length));
    return true;
}

/* What a topic alias costs and saves: three bytes of property, and the topic. */
enum { ALIAS_PROPERTY = 3 };

void agent_alias_used(struct tcu *tcu, bool known, bool inbound, uint32_t topic_length)
{
    uint8_t how = (uint8_t)((known ? 0 : TCU_ALIAS_COST) | (inbound ? TCU_ALIAS_INBOUND : 0));
    if (!known || topic_length > ALIAS_PROPERTY)
        agent_tell(tcu, TCU_PROBE_ALIAS, how, known ? topic_length - ALIAS_PROPERTY : ALIAS_PROPERTY);
}
