/* mutants_flow.c: brokers that do not keep to the client's windows and sizes. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))

static bool forgets_property(struct link *link, struct seen *seen)
{
    enum mq5_property property = (enum mq5_property)mutant_of(link)->property;
    if (!is(seen, MQ5_CONNECT) || !has(&seen->packet.connect.properties, property))
        return true;
    without(&seen->packet.connect.properties, property);
    return edited(link, seen);
}

static bool window_one_larger(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !has(&seen->packet.connect.properties, MQ5_RECEIVE_MAXIMUM))
        return true;
    seen->packet.connect.properties.receive_maximum++;
    return edited(link, seen);
}

static uint32_t window_of(const struct link *link)
{
    return has(&link->login.properties, MQ5_RECEIVE_MAXIMUM) ? link->login.properties.receive_maximum : 65535;
}

static bool full_window_holds_up(struct link *link, struct seen *seen)
{
    return link->in_flight < window_of(link) || seen->type == MQ5_PUBLISH;
}

/* PUBREC is taken for the end of the handshake: a place too early is free. */
static bool pubrec_frees(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNECT) && has(&seen->packet.connect.properties, MQ5_RECEIVE_MAXIMUM)) {
        seen->packet.connect.properties.receive_maximum = 65535;
        return edited(link, seen);
    }
    if (is(seen, MQ5_PUBREC) && seen->packet.ack.reason < 0x80)
        link->n[1]++;
    if (is(seen, MQ5_PUBCOMP) && link->n[1])
        link->n[1]--;
    struct note *note = note_find(link->served, 'h', scratch_text(link->served, "%u", link->number));
    if (note && note->value && link->in_flight - link->n[1] <= window_of(link)) {
        note->value = 0;
        to_client_bytes(link, note->bytes);
    }
    return true;
}

static bool holds_above_window(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !seen->packet.publish.qos || link->in_flight - link->n[1] <= window_of(link))
        return true;
    struct note *note = note_make(link->served, 'h', scratch_text(link->served, "%u", link->number));
    note->value = 1;
    note_bytes(note, seen->bytes);
    return false;
}

/* A message that is too large is not sent, and keeps its place in the window. */
static bool large_ones_keep_their_place(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_PUBLISH) && has(&link->login.properties, MQ5_MAXIMUM_PACKET_SIZE) &&
             seen->bytes.length > link->login.properties.maximum_packet_size);
}

/* A message that is too large for one client ends its connection. */
static bool large_ones_close(struct link *link, struct seen *seen)
{
    return large_ones_keep_their_place(link, seen) ? true : hang_up(link);
}

static bool refused_keeps_its_place(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_PUBREC) && seen->packet.ack.reason >= 0x80);
}

/* Of what comes in one segment the first packet is read. number: of these types only. */
static bool first_of_a_segment(struct link *link, struct seen *seen)
{
    const struct mutant *mutant = mutant_of(link);
    if (mutant->types && !(mutant->types >> seen->type & 1))
        return true;
    bool first = link->n[3] != link->segment;
    link->n[3] = link->segment;
    return first;
}

MUTANT_TABLE(mutants_flow,
             {.name = "Receive Maximum is not kept",
              .statement = "MQTT-3.3.4-9",
              .in = forgets_property,
              .property = MQ5_RECEIVE_MAXIMUM},
             {.name = "one more than Receive Maximum is sent", .statement = "MQTT-3.3.4-9", .in = window_one_larger},
             {.name = "the first quota is one too large", .statement = "MQTT-4.9.0-1", .in = window_one_larger},
             {.name = "a quota of 0 does not stop anything",
              .statement = "MQTT-4.9.0-2",
              .in = forgets_property,
              .property = MQ5_RECEIVE_MAXIMUM},
             {.name = "PUBREC frees a place in the window",
              .statement = "MQTT-3.3.4-9",
              .in = pubrec_frees,
              .out = holds_above_window},
             {.name = "a refused message keeps its place in the window",
              .statement = "MQTT-3.3.4-9",
              .in = refused_keeps_its_place},
             {.name = "a full window holds up everything", .statement = "MQTT-3.3.4-10", .out = full_window_holds_up},
             {.name = "with a quota of 0 nothing is answered",
              .statement = "MQTT-4.9.0-3",
              .out = full_window_holds_up},
             {.name = "of several PINGREQ in one segment one is answered",
              .statement = "MQTT-3.12.4-1",
              .in = first_of_a_segment,
              .types = BIT(MQ5_PINGREQ)},
             {.name = "of what comes in one segment the first packet is read",
              .statement = "S4.2a",
              .late = true,
              .in = first_of_a_segment},
             {.name = "of a segment the first packet is read, and the others are lost",
              .statement = "MQTT-4.2-1",
              .late = true,
              .in = first_of_a_segment},
             {.name = "Maximum Packet Size is not kept",
              .statement = "MQTT-3.1.2-24",
              .in = forgets_property,
              .property = MQ5_MAXIMUM_PACKET_SIZE},
             {.name = "a message that is too large keeps its place in the window",
              .statement = "MQTT-3.1.2-25",
              .in = forgets_property,
              .out = large_ones_keep_their_place,
              .property = MQ5_MAXIMUM_PACKET_SIZE},
             {.name = "a message that is too large ends the connection",
              .statement = "MQTT-3.1.2-25",
              .in = forgets_property,
              .out = large_ones_close,
              .property = MQ5_MAXIMUM_PACKET_SIZE}, )
