/* live_services.c: what attaches to the brokers: telemetry processors, a listener for presence, the command service.
 *
 * Each process has services of its own on each broker that its vehicles use. Where several processes share one broker, their processors
 * share one subscription, one of them hears of presence, and each sends commands to its own vehicles.
 */
#include "live.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICE_LIFETIME_S (7 * INT64_C(86400))
#define BUS_TIMEOUT_MS     15000
#define PROCESSORS_MAX     12

/* ---- identities ---------------------------------------------------------------------------------------------------- */

/* In effect now that it is known where the fleet connects: profiles are made from the cohorts as written. */
static void adapt_profiles(struct live_world *world)
{
    for (uint32_t c = 0; c < world->scenario->cohort_count; c++)
        for (uint32_t f = 0; f < SCENARIO_SHARES; f++) {
            struct tcu_profile *profile = &world->fleet.profiles[c * SCENARIO_SHARES + f];
            if (world->identity[c] != IDENTITY_CERTIFICATE)
                profile->provisioning = TCU_PROVISION_NONE;
            if (!world->options->user_name || profile->user_name[0] || world->brokers[0].embedded)
                continue;
            snprintf(profile->user_name, sizeof profile->user_name, "%s", world->options->user_name);
            snprintf(profile->password, sizeof profile->password, "%s",
                     world->options->password ? world->options->password : "");
        }
}

/* The services' own certificate, as files because Paho takes nothing else. They go when the run ends. */
static bool write_pem(const char *path, const uint8_t *der, size_t length, bool key)
{
    const unsigned char *at = der;
    mode_t mask = umask(077);
    FILE *file = fopen(path, "w");
    umask(mask);
    bool good = false;
    if (file && key) {
        EVP_PKEY *parsed = d2i_AutoPrivateKey(NULL, &at, (long)length);
        good = parsed && PEM_write_PKCS8PrivateKey(file, parsed, NULL, NULL, 0, NULL, NULL) == 1;
        EVP_PKEY_free(parsed);
    } else if (file) {
        X509 *parsed = d2i_X509(NULL, &at, (long)length);
        good = parsed && PEM_write_X509(file, parsed) == 1;
        X509_free(parsed);
    }
    return file && fclose(file) == 0 && good;
}

static bool service_identity(struct live_world *world)
{
    const struct world_options *options = world->options;
    if (options->certificate_file) {
        snprintf(world->service_certificate, sizeof world->service_certificate, "%s", options->certificate_file);
        snprintf(world->service_key, sizeof world->service_key, "%s",
                 options->key_file ? options->key_file : options->certificate_file);
        return true;
    }
    if (!world->pki || world->brokers[0].embedded)
        return true;
    uint8_t certificate[4096], key[512];
    size_t certificate_length = sizeof certificate, key_length = sizeof key;
    int64_t now_s = world->fleet.wall_offset_us / US_PER_S;
    const char *directory = options->out_directory ? options->out_directory : ".";
    char suffix[16] = "";
    if (world->rank)
        snprintf(suffix, sizeof suffix, "-%u", world->rank);
    snprintf(world->service_certificate, sizeof world->service_certificate, "%.560s/services%s.crt", directory, suffix);
    snprintf(world->service_key, sizeof world->service_key, "%.560s/services%s.key", directory, suffix);
    world->made_service_files = true;
    return (cloud_pki_make(world->pki, CLOUD_CA_OPERATIONAL, "convoy-rig", now_s - 3600, SERVICE_LIFETIME_S,
                           certificate, &certificate_length, key, &key_length) &&
            write_pem(world->service_certificate, certificate, certificate_length, false) &&
            write_pem(world->service_key, key, key_length, true)) ||
           live_fail(world, "cannot write the services' certificate %s", world->service_certificate);
}

/* ---- buses --------------------------------------------------------------------------------------------------------- */

static void on_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct live_handler *handler = context;
    if ((handler->bus->desk && live_remote_lost(handler->bus, message)) ||
        (handler->bus->reserved && live_shadow_lost(handler->bus, message)))
        return;
    handler->handler(handler->context, now_us - handler->bus->world->start_us, message);
}

static uint8_t bus_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                             cloud_bus_handler *handler, void *context)
{
    struct live_bus *self = (struct live_bus *)bus;
    if (self->handler_count == sizeof self->handlers / sizeof self->handlers[0])
        return MQ5_QUOTA_EXCEEDED;
    struct live_handler *mine = &self->handlers[self->handler_count++];
    *mine = (struct live_handler){self, handler, context};
    return self->remote->ops->subscribe(self->remote, now_us + self->world->start_us, filter, qos, on_message, mine);
}

static uint8_t bus_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    struct live_bus *self = (struct live_bus *)bus;
    return self->remote->ops->publish(self->remote, now_us + self->world->start_us, message);
}

static void bus_close(struct cloud_bus *bus)
{
    struct live_bus *self = (struct live_bus *)bus;
    if (self->remote)
        self->remote->ops->close(self->remote);
    self->remote = NULL;
}

static const struct cloud_bus_ops bus_ops = {bus_subscribe, bus_publish, bus_close};

static void wake(void *context) /* on Paho's thread */
{
    struct live_world *world = context;
    ev_async_send(world->loop, &world->bus_wake);
}

static const char *ca_file(const struct live_world *world, char *out, size_t capacity)
{
    if (world->options->ca_file)
        return world->options->ca_file;
    if (!world->pki)
        return NULL;
    snprintf(out, capacity, "%s/ca.pem", world->pki_directory);
    return out;
}

/* Paho may take two seconds for a connection that the broker takes at once, so all of them are made at the same time. */
struct attachment {
    pthread_t thread;
    struct live_world *world;
    struct live_broker *broker;
    char service[64], error[400];
    struct cloud_bus *bus;
    bool wire, threaded;
};

static void attach(struct attachment *attachment, bool by_wire, const struct live_wire_member *member)
{
    struct live_world *world = attachment->world;
    struct live_broker *broker = attachment->broker;
    char id[128], ca[600], suffix[16] = "";
    struct cloud_bus_remote_options options = {
        .uri = broker->service_uri, .client_id = id, .wake = wake, .wake_context = world};
    struct cloud_options passwords = {0};
    if (world->rank)
        snprintf(suffix, sizeof suffix, "-%u", world->rank);
    snprintf(id, sizeof id, "convoy-%s-%s%s", world->run_id, attachment->service, suffix);
    options.user_name = world->options->user_name;
    options.password = world->options->password;
    if (broker->embedded) {
        live_cloud_passwords(world, &passwords);
        options.user_name = passwords.user_name && strcmp(passwords.user_name, "%") == 0 ? id : passwords.user_name;
        options.password = passwords.password;
    }
    if (strncmp(broker->service_uri, "mqtts", 5) == 0) {
        options.ca_file = ca_file(world, ca, sizeof ca);
        options.verify_name = !world->options->no_verify_name;
        options.certificate_file = world->service_certificate[0] ? world->service_certificate : NULL;
        options.key_file = world->service_key[0] ? world->service_key : NULL;
    }
    if (member)
        attachment->bus = live_wire_member(world, &broker->doors[IDENTITY_NONE], &options, member);
    else if (by_wire)
        attachment->bus = live_wire_connect(world, &broker->doors[IDENTITY_NONE], &options);
    else
        attachment->bus = cloud_bus_remote(&options, BUS_TIMEOUT_MS, attachment->error, sizeof attachment->error);
    attachment->wire = attachment->bus && by_wire;
}

static void *attach_by_paho(void *context)
{
    attach(context, false, NULL);
    return NULL;
}

static bool attach_one(struct live_world *world, struct live_broker *broker, struct attachment *attachment,
                       const char *service)
{
    *attachment = (struct attachment){.world = world, .broker = broker};
    snprintf(attachment->service, sizeof attachment->service, "%s", service);
    if (strncmp(broker->service_uri, "mqtt:", 5) == 0)
        attach(attachment, true, NULL);
    attachment->threaded =
        !attachment->bus && pthread_create(&attachment->thread, NULL, attach_by_paho, attachment) == 0;
    return attachment->bus || attachment->threaded;
}

struct cloud_bus *live_services_member(struct live_world *world, struct live_broker *broker, const char *service,
                                       const struct live_wire_member *member)
{
    struct attachment attachment = {.world = world, .broker = broker};
    snprintf(attachment.service, sizeof attachment.service, "%s", service);
    attach(&attachment, true, member);
    return attachment.bus;
}

static bool take_bus(struct live_world *world, struct live_broker *broker, struct attachment *attachment)
{
    if (attachment->threaded)
        pthread_join(attachment->thread, NULL);
    if (!attachment->bus)
        return live_fail(world, "%s", attachment->error);
    broker->buses[broker->bus_count++] =
        (struct live_bus){.bus = {&bus_ops}, .remote = attachment->bus, .wire = attachment->wire, .world = world};
    return true;
}

static bool looked_after(const struct live_world *world)
{
    return world->lives && !world->brokers[0].embedded && !live_plain_objection(world);
}

/* In this order: processors, presence, commands, the desk's presence, identities, messages, shadows. */
static bool attach_all(struct live_world *world, struct live_broker *broker, uint32_t processors)
{
    struct attachment attachments[LIVE_BUSES];
    uint32_t watching = processors + 2 + live_remote_watches(world), known = watching + looked_after(world), begun = 0;
    uint32_t messages = known + live_messages_buses(world), wanted = messages + live_shadow_buses(world, broker);
    bool good = true;
    while (begun < wanted && good) {
        char name[32];
        snprintf(name, sizeof name,
                 begun < processors        ? "processor-%u"
                 : begun == processors     ? "presence"
                 : begun == processors + 1 ? "commands"
                 : begun < watching        ? "watch"
                 : begun < known           ? "identities"
                 : begun < messages        ? "messages-%u"
                                           : "shadows-%u",
                 begun + 1);
        good = attach_one(world, broker, &attachments[begun], name) ||
               live_fail(world, "cannot start a thread for connecting the services");
        begun += good;
    }
    for (uint32_t i = 0; i < begun; i++)
        good = take_bus(world, broker, &attachments[i]) && good;
    return good;
}

static void *detach(void *context)
{
    bus_close(context);
    return NULL;
}

static void detach_all(struct live_broker *broker)
{
    pthread_t threads[LIVE_BUSES];
    bool begun[LIVE_BUSES];
    for (uint32_t i = 0; i < broker->bus_count; i++) {
        begun[i] = !broker->buses[i].wire && pthread_create(&threads[i], NULL, detach, &broker->buses[i].bus) == 0;
        if (!begun[i])
            bus_close(&broker->buses[i].bus);
    }
    for (uint32_t i = 0; i < broker->bus_count; i++)
        if (begun[i])
            pthread_join(threads[i], NULL);
    broker->bus_count = 0;
}

/* ---- services ------------------------------------------------------------------------------------------------------ */

static void on_telemetry(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct live_world *world = context;
    world->delivered_us = now_us;
    if (!world->closing)
        fleet_delivery(&world->fleet, now_us, message);
}

/* Which region's processors got it is known, too. */
static void on_telemetry_of_region(void *context, int64_t now_us, const struct mq5_publish *message)
{
    const struct live_bus *bus = context;
    const struct live_world *world = bus->world;
    uint32_t region = 0;
    while (bus < world->brokers[region].buses || bus >= world->brokers[region].buses + LIVE_BUSES)
        region++;
    live_regions_delivered(&world->brokers[region], message);
    on_telemetry(bus->world, now_us, message);
}

static void on_presence(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct live_world *world = context;
    if (!world->closing)
        measure_count(world->fleet.measure, COUNTER_PRESENCE_EVENTS, (struct measure_dimension){0, 0, PATH_ANY}, now_us,
                      1);
}

static void filter_of(const char *template, const char *prefix, char *out, size_t capacity)
{
    const char *mark = strchr(template, '%');
    snprintf(out, capacity, "%s%.*s+%s", prefix, (int)(mark - template), template, mark + 1);
}

static bool subscribe(struct live_world *world, const struct live_broker *broker, struct live_bus *bus,
                      const char *filter, uint8_t qos, cloud_bus_handler *handler)
{
    uint8_t reason = bus->bus.ops->subscribe(&bus->bus, 0, span_text(filter), qos, handler, world);
    return reason < 0x80 ||
           live_fail(world, "%s refuses the subscription %s: %s", broker->uri, filter, mq5_reason_name(reason));
}

static void without_sharing(struct live_world *world, const struct live_broker *broker)
{
    char *features = world->result->unavailable;
    size_t used = strlen(features);
    live_note(world->result, "%s has no shared subscriptions: one telemetry processor takes everything", broker->uri);
    snprintf(features + used, sizeof world->result->unavailable - used, "%sshared_subscriptions", used ? "," : "");
}

static bool start_processors(struct live_world *world, struct live_broker *broker, uint32_t count)
{
    char filter[160];
    filter_of(world->fleet.topic_telemetry, "$share/processors/", filter, sizeof filter);
    for (uint32_t i = 0; i < count; i++) {
        struct live_bus *bus = &broker->buses[i];
        void *context = world->regions ? (void *)bus : world;
        uint8_t reason = bus->bus.ops->subscribe(&bus->bus, 0, span_text(filter), 1,
                                                 world->regions ? on_telemetry_of_region : on_telemetry, context);
        if (i == 0 && reason == MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED) {
            without_sharing(world, broker);
            if (!broker->leads) /* or each message would count once a process */
                return true;
            filter_of(world->fleet.topic_telemetry, "", filter, sizeof filter);
            return subscribe(world, broker, bus, filter, 1, on_telemetry);
        }
        if (reason >= 0x80)
            return live_fail(world, "%s refuses the telemetry processors' subscription %s: %s", broker->uri, filter,
                             mq5_reason_name(reason));
    }
    return true;
}

static bool start_commands(struct live_world *world, struct live_broker *broker, struct live_bus *bus)
{
    struct cloud_command_options options;
    if (world->scenario->cloud.commands.on)
        return live_remote_start(world, broker, bus + 1, bus) ||
               live_fail(world, "%s refuses the subscriptions of remote commands", broker->uri);
    /* Processes that share a broker hear each other's answers, so no two of them may use the same numbers. */
    fleet_command_options(&world->fleet, &options,
                          (uint64_t)(broker->number * (uint64_t)world->ranks + world->rank + 1) << 40);
    broker->commands = cloud_commands_create(&options, &bus->bus, world->now_us);
    return broker->commands || live_fail(world, "%s refuses the command service's subscription", broker->uri);
}

/* Of all regions: once, when the last broker has its buses. */
static bool start_commands_of_all(struct live_world *world, const struct live_broker *broker, uint32_t bus)
{
    struct live_broker *first = &world->brokers[0];
    struct cloud_command_options options;
    if (broker != &world->brokers[world->broker_count - 1])
        return true;
    struct cloud_bus *desk = live_regions_desk(world, bus);
    struct cloud_bus *watch = live_remote_watches(world) ? live_regions_watch(world, bus + 1) : NULL;
    if (!desk || (live_remote_watches(world) && !watch))
        return live_fail(world, "out of memory");
    if (world->scenario->cloud.commands.on)
        return live_remote_open(world, first, watch, desk) ||
               live_fail(world, "%s refuses the subscriptions of remote commands", broker->uri);
    fleet_command_options(&world->fleet, &options, (uint64_t)(world->rank + 1) << 40);
    first->commands = cloud_commands_create(&options, desk, world->now_us);
    return first->commands || live_fail(world, "%s refuses the command service's subscription", broker->uri);
}

static bool start_services(struct live_world *world, struct live_broker *broker)
{
    char filter[160];
    bool own = world->scenario->cloud.messages.processors; /* live_messages.c's */
    uint32_t processors = own ? 0 : (world->scenario->cloud.processors + broker->sharers - 1) / broker->sharers;
    processors = processors > PROCESSORS_MAX ? PROCESSORS_MAX : processors;
    const struct scenario_regions *regions = &world->scenario->cloud.regions; /* a fault: nobody listens */
    bool deaf = regions->migrates && regions->no_processors > 0.5 && broker == &world->brokers[regions->to];
    if (!attach_all(world, broker, processors) || (!deaf && !start_processors(world, broker, processors)))
        return false;
    if (world->profile->presence_events)
        snprintf(filter, sizeof filter, "%s/presence/#", world->profile->event_prefix);
    else
        filter_of(world->fleet.topic_presence, "", filter, sizeof filter);
    if (broker->leads && !subscribe(world, broker, &broker->buses[processors], filter, 0, on_presence))
        return false;
    struct live_bus *next = &broker->buses[processors + 1];
    if (world->regions ? !start_commands_of_all(world, broker, processors + 1) : !start_commands(world, broker, next))
        return false;
    next += 1 + live_remote_watches(world);
    if (looked_after(world) && !live_plain_start(world, broker, next->remote))
        return false;
    next += looked_after(world);
    return live_messages_start(world, broker, next) &&
           live_shadow_start(world, broker, next + live_messages_buses(world));
}

bool live_services_start(struct live_world *world)
{
    char ca[600];
    adapt_profiles(world);
    if (!service_identity(world) || !live_tls_create(world, ca_file(world, ca, sizeof ca)))
        return false;
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (!start_services(world, &world->brokers[b]))
            return false;
    return true;
}

void live_services_poll(struct live_world *world)
{
    for (uint32_t b = 0; b < world->broker_count; b++)
        for (uint32_t i = 0; i < world->brokers[b].bus_count; i++)
            if (!world->brokers[b].buses[i].wire)
                cloud_bus_poll(world->brokers[b].buses[i].remote);
    live_commands_touched(world);
    live_plain_touched(world);
}

void live_presence_clear(struct live_world *world)
{
    char name[SCENARIO_NAME + 16], topic[160];
    if (world->profile->presence_events || !world->fleet.topic_presence[0])
        return;
    const char *mark = strchr(world->fleet.topic_presence, '%');
    for (uint32_t v = 0; v < world->count; v++) {
        struct live_vehicle *vehicle = &world->vehicles[v];
        struct live_broker *broker = &world->brokers[vehicle->broker];
        if (!vehicle->trace.was_online || !broker->bus_count)
            continue;
        size_t length = scenario_vehicle_name(world->scenario, vehicle->index, name, sizeof name);
        snprintf(topic, sizeof topic, "%.*s%.*s%s", (int)(mark - world->fleet.topic_presence),
                 world->fleet.topic_presence, (int)length, name, mark + 1);
        struct mq5_publish empty = {.retain = true, .topic = span_text(topic)};
        struct live_bus *bus = &broker->buses[broker->bus_count - 1];
        bus->bus.ops->publish(&bus->bus, world->now_us, &empty);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void note_overflow(struct live_world *world, const struct live_bus *bus)
{
    struct cloud_bus_counts counts = {0};
    if (bus->wire)
        counts.reconnects = live_wire_reconnects(bus->remote);
    else
        cloud_bus_count(bus->remote, &counts);
    if (counts.overflowed)
        live_group_note(world, "%llu messages were lost in the rig: its services could not keep up",
                        (unsigned long long)counts.overflowed);
    if (counts.reconnects)
        live_group_note(world, "a service's connection to the broker broke and came back %llu times",
                        (unsigned long long)counts.reconnects);
}

void live_services_stop(struct live_world *world)
{
    live_messages_stop(world);
    for (uint32_t b = 0; b < world->broker_count; b++) {
        struct live_broker *broker = &world->brokers[b];
        if (broker->commands)
            cloud_commands_destroy(broker->commands);
        broker->commands = NULL;
        live_remote_stop(broker);
        live_shadow_stop(broker);
        live_plain_stop(broker);
        for (uint32_t i = 0; i < broker->bus_count; i++)
            note_overflow(world, &broker->buses[i]);
        detach_all(broker);
    }
    if (world->made_service_files) {
        unlink(world->service_certificate);
        unlink(world->service_key);
    }
    SSL_CTX_free(world->tls);
    world->tls = NULL;
}
