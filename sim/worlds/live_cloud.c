/* live_cloud.c: the other side: our own cloud in child processes, or somebody else's brokers.
 *
 * Several brokers share the fleet. With as many brokers as processes or more, each process has brokers of its own; with fewer, processes
 * share them. Our own clouds are always a process's own, as many as its vehicles need (a process has a limit on open descriptors),
 * and all of them know the same certificate authorities.
 *
 * On somebody else's broker everything of a run lives under "convoy/<run id>/", so that a staging broker is not disturbed. Client ids are the
 * vehicles' names; the services are "convoy-<run id>-...".
 */
#include "live.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define SERVICE_QUEUE     50000 /* messages on their way to a processor: the vehicles' are bounded by what they do */
#define CLOUD_DESCRIPTORS 128   /* of a cloud's process, for other things than vehicles */

/* ---- addresses ----------------------------------------------------------------------------------------------------- */

static void find_literal(struct live_door *door)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&door->address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&door->address;
    if (inet_pton(AF_INET, door->host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(door->port);
        door->address_length = sizeof *in;
    } else if (inet_pton(AF_INET6, door->host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(door->port);
        door->address_length = sizeof *in6;
    }
    door->literal = door->address_length > 0;
}

static void set_door(struct live_door *door, const char *host, int port, bool tls)
{
    memset(door, 0, sizeof *door);
    if (port <= 0)
        return;
    door->offered = true;
    door->tls = tls;
    door->port = (uint16_t)port;
    snprintf(door->host, sizeof door->host, "%s", host);
    snprintf(door->service, sizeof door->service, "%u", (unsigned)door->port);
    find_literal(door);
}

static bool read_uri(struct live_world *world, struct live_broker *broker)
{
    const char *uri = broker->uri;
    bool tls = strncmp(uri, "mqtts://", 8) == 0;
    const char *host = uri + (tls ? 8 : 7);
    bool bracket = *host == '[';
    host += bracket;
    size_t length = strcspn(host, bracket ? "]" : ":/");
    const char *rest = host + length + (bracket && host[length] == ']');
    char name[128], *end = NULL;
    long port = *rest == ':' ? strtol(rest + 1, &end, 10) : tls ? 8883 : 1883;
    bool whole = end ? end != rest + 1 && (*end == 0 || strcmp(end, "/") == 0) : *rest == 0 || strcmp(rest, "/") == 0;
    if (strncmp(uri, "mqtt", 4) != 0 || length == 0 || length >= sizeof name || !whole || port < 1 || port > 65535)
        return live_fail(world, "'%s' is no broker address; write mqtt://HOST:PORT or mqtts://HOST:PORT", uri);
    snprintf(name, sizeof name, "%.*s", (int)length, host);
    for (int i = 0; i < LIVE_IDENTITIES; i++)
        set_door(&broker->doors[i], name, (int)port, tls);
    if (!tls)
        broker->doors[IDENTITY_CERTIFICATE].offered = false;
    snprintf(broker->service_uri, sizeof broker->service_uri, "%s", uri);
    return true;
}

/* How many clouds of our own this process needs. */
static uint32_t embedded_count(const struct live_world *world)
{
    uint32_t given = world->options->broker_count, mine = 0;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = limit.rlim_max > 2 * CLOUD_DESCRIPTORS ? limit.rlim_max - CLOUD_DESCRIPTORS : CLOUD_DESCRIPTORS;
    if (world->scenario->cloud.regions.on)
        return world->scenario->region_count;
    for (uint32_t b = world->rank; b < given; b += world->ranks)
        mine++;
    uint64_t needed = (world->count + most - 1) / most;
    if (needed > mine)
        mine = (uint32_t)needed;
    return mine ? mine : 1;
}

static bool embed_brokers(struct live_world *world)
{
    uint32_t count = embedded_count(world);
    if (count > WORLD_BROKERS)
        return live_fail(world,
                         "%u vehicles need %u clouds in one process, at most %d are possible; use more processes: -j",
                         world->count, count, WORLD_BROKERS);
    world->broker_count = count;
    for (uint32_t b = 0; b < count; b++) {
        struct live_broker *broker = &world->brokers[b];
        broker->uri = "embedded";
        broker->embedded = broker->leads = true;
        broker->number = b * world->ranks + world->rank;
        broker->sharers = 1;
    }
    if (world->scenario->cloud.regions.on)
        live_note(world->result, "each region has a cloud of its own");
    else if (count > 1 && count > world->options->broker_count)
        live_note(world->result, "process %u has %u clouds of its own: one process may hold so many connections only",
                  world->rank, count);
    return true;
}

static bool add_broker(struct live_world *world, uint32_t number)
{
    struct live_broker *broker = &world->brokers[world->broker_count++];
    uint32_t given = world->options->broker_count;
    broker->uri = world->options->brokers[number];
    broker->number = number;
    broker->sharers = given >= world->ranks ? 1 : (world->ranks - number + given - 1) / given;
    broker->leads = number == world->rank || broker->sharers == 1;
    if (world->scenario->cloud.regions.on) { /* all processes have cars on each */
        broker->sharers = world->ranks;
        broker->leads = world->rank == 0;
    }
    return read_uri(world, broker);
}

static bool read_brokers(struct live_world *world)
{
    const struct world_options *options = world->options;
    uint32_t embedded = 0;
    for (uint32_t b = 0; b < options->broker_count; b++)
        embedded += strcmp(options->brokers[b], "embedded") == 0;
    if (embedded == options->broker_count)
        return embed_brokers(world);
    if (embedded)
        return live_fail(world,
                         "the embedded broker stands alone; give it as the only kind of --broker, or leave it out");
    if (world->scenario->cloud.regions.on) {
        for (uint32_t b = 0; b < options->broker_count; b++)
            if (!add_broker(world, b))
                return false;
        return true;
    }
    if (options->broker_count < world->ranks)
        return add_broker(world, world->rank % options->broker_count);
    for (uint32_t b = world->rank; b < options->broker_count; b += world->ranks)
        if (!add_broker(world, b))
            return false;
    return true;
}

/* ---- identities ---------------------------------------------------------------------------------------------------- */

static bool uses(const struct live_world *world, enum scenario_identity identity)
{
    for (uint32_t c = 0; c < world->scenario->cohort_count; c++)
        if (world->scenario->cohorts[c].count && world->identity[c] == identity)
            return true;
    return false;
}

static bool enrols(const struct live_world *world)
{
    for (uint32_t c = 0; c < world->scenario->cohort_count; c++)
        if (world->identity[c] == IDENTITY_CERTIFICATE &&
            world->scenario->cohorts[c].provisioning == PROVISIONING_JUST_IN_TIME)
            return true;
    return false;
}

static bool choose_identities(struct live_world *world)
{
    bool replaced = false, clear = false;
    world->identity = calloc(world->scenario->cohort_count + 1, sizeof *world->identity);
    if (!world->identity)
        return live_fail(world, "out of memory");
    for (uint32_t b = 0; b < world->broker_count; b++)
        clear |= !world->brokers[b].embedded && !world->brokers[b].doors[IDENTITY_CERTIFICATE].offered;
    for (uint32_t c = 0; c < world->scenario->cohort_count; c++) {
        world->identity[c] = world->scenario->cohorts[c].identity;
        if (clear && world->identity[c] == IDENTITY_CERTIFICATE) {
            world->identity[c] = IDENTITY_NONE;
            replaced = true;
        }
    }
    if (replaced)
        live_note(world->result, "identity replaced: a clear listener (mqtt://) takes no certificate, so these "
                                 "vehicles connect without one and nothing is "
                                 "provisioned");
    return true;
}

static bool open_pki(struct live_world *world)
{
    const struct world_options *options = world->options;
    bool embedded = world->brokers[0].embedded;
    char error[300];
    if (!embedded && !uses(world, IDENTITY_CERTIFICATE))
        return true;
    if (options->pki_directory)
        snprintf(world->pki_directory, sizeof world->pki_directory, "%s", options->pki_directory);
    else if (embedded)
        snprintf(world->pki_directory, sizeof world->pki_directory, "%s/pki",
                 options->out_directory ? options->out_directory : ".");
    else
        return live_fail(world,
                         "%s asks for client certificates and no CA that it trusts is known: make one with 'convoy "
                         "cloud --init --pki DIR', give the "
                         "broker DIR/ca.pem as its CA file, and add --pki DIR here",
                         world->brokers[0].uri);
    world->pki = cloud_pki_open(world->pki_directory, embedded, error, sizeof error);
    return world->pki ||
           live_fail(world, "%s%s", error, embedded ? "" : "; 'convoy cloud --init --pki DIR' makes the files");
}

/* ---- the child ----------------------------------------------------------------------------------------------------- */

static int64_t draw_activation(void *context) /* runs in the child, on its copy */
{
    struct live_activation *activation = context;
    return sim_table_draw(&activation->scenario->cloud.activation_us, &activation->random);
}

void live_cloud_passwords(const struct live_world *world, struct cloud_options *options)
{
    for (uint32_t c = 0; c < world->scenario->cohort_count && !options->user_name; c++) {
        const struct scenario_cohort *cohort = &world->scenario->cohorts[c];
        if (world->identity[c] != IDENTITY_PASSWORD)
            continue;
        options->user_name = cohort->user_name;
        options->password = cohort->password;
    }
}

static void child_options(struct live_world *world, struct live_broker *broker, struct cloud_serve_options *options)
{
    const struct scenario *scenario = world->scenario;
    bool embedded = broker->embedded;
    cloud_serve_defaults(options);
    broker->activation.scenario = scenario;
    sim_random_init(&broker->activation.random, scenario->seed, broker->number, SIM_FOR_CLOUD);
    options->quiet = true;
    options->without_broker = !embedded;
    options->pki_directory = world->pki_directory;
    options->mqtt_port = embedded ? 0 : -1;
    options->mqtts_port = embedded && uses(world, IDENTITY_CERTIFICATE) ? 0 : -1;
    options->mqtts_password_port = embedded && uses(world, IDENTITY_PASSWORD) ? 0 : -1;
    /* One certificate broker a process, unless each cloud knows its own vehicles only. */
    bool certifies = broker == world->brokers || scenario->cloud.lifecycle.on;
    options->https_port = enrols(world) && certifies ? 0 : -1;
    options->registry_path = embedded ? broker->registry_path : NULL;
    options->cloud.broker.keep_alive_maximum_s = scenario->cloud.keep_alive_maximum_s;
    options->cloud.broker.maximum_session_expiry_s = scenario->cloud.session_expiry_maximum_s;
    options->cloud.broker.receive_maximum = scenario->cloud.receive_maximum;
    options->cloud.broker.maximum_queued_per_session = SERVICE_QUEUE;
    options->cloud.broker.topic_alias_maximum = scenario->cloud.topic_alias_maximum;
    options->cloud.broker.outbound_topic_aliases = fleet_aliases_taken(scenario);
    options->cloud.registration.draw_delay = draw_activation;
    options->cloud.registration.draw_context = &broker->activation;
    options->cloud.certificate_lifetime_s = scenario->cloud.certificate_lifetime_s;
    options->cloud.seed = scenario->seed + broker->number;
    options->cloud.profile = world->profile;
    fleet_cloud_options(scenario, &options->cloud);
    live_cloud_passwords(world, &options->cloud);
    live_child_options(world, broker, options);
}

static void open_embedded_doors(struct live_broker *broker)
{
    const struct cloud_serve_doors *doors = &broker->served;
    set_door(&broker->doors[IDENTITY_NONE], doors->address, doors->mqtt_port, false);
    set_door(&broker->doors[IDENTITY_PASSWORD], doors->address, doors->mqtts_password_port, true);
    set_door(&broker->doors[IDENTITY_CERTIFICATE], doors->address, doors->mqtts_port, true);
    snprintf(broker->service_uri, sizeof broker->service_uri, "mqtt://%s:%d", doors->address, doors->mqtt_port);
}

static bool start_child(struct live_world *world, struct live_broker *broker)
{
    struct cloud_serve_options options;
    char error[300] = "", suffix[16] = "";
    if (broker->embedded) {
        if (broker->number)
            snprintf(suffix, sizeof suffix, "-%u", broker->number);
        snprintf(broker->registry_path, sizeof broker->registry_path, "%.560s/registry%s.sqlite",
                 world->options->out_directory ? world->options->out_directory : ".", suffix);
        unlink(broker->registry_path); /* of an earlier run into the same directory */
    }
    bool told =
        world->scenario->cloud.lifecycle.on || world->scenario->timeline_count || world->scenario->cloud.regions.on ||
        world->scenario->cloud.commands.pattern == CLOUD_PATTERN_EXECUTIONS || live_shadow_loses(world->scenario);
    if (told && broker->embedded && !live_child_connect(broker))
        return live_fail(world, "cannot make a pair of sockets");
    child_options(world, broker, &options);
    broker->pid = cloud_serve_start(&options, &broker->served, &broker->stop_fd, error, sizeof error);
    if (broker->child.fd >= 0)
        close(broker->child.fd);
    broker->child.fd = -1;
    if (broker->pid < 0)
        return live_fail(world, "%s", error);
    if (broker->embedded)
        open_embedded_doors(broker);
    return true;
}

/* Embedded: every broker is a process. Otherwise one process beside the first broker issues certificates, if anybody wants any. */
static bool start_children(struct live_world *world)
{
    bool embedded = world->brokers[0].embedded;
    for (uint32_t b = 0; b < (embedded ? world->broker_count : enrols(world)); b++)
        if (!start_child(world, &world->brokers[b]))
            return false;
    return true;
}

static void describe(struct live_world *world)
{
    const struct world_options *options = world->options;
    struct world_result *result = world->result;
    size_t used = 0;
    if (options->broker_count == 0)
        snprintf(result->broker, sizeof result->broker, "embedded");
    for (uint32_t b = 0; b < options->broker_count && used < sizeof result->broker; b++)
        used += (size_t)snprintf(result->broker + used, sizeof result->broker - used, "%s%s", b ? " " : "",
                                 options->brokers[b]);
    snprintf(result->cloud_profile, sizeof result->cloud_profile, "%s", world->profile->name);
    const char *objection = world->brokers[0].embedded ? NULL : live_plain_objection(world);
    snprintf(result->unavailable, sizeof result->unavailable, "%s%s", world->profile->unavailable,
             objection ? ",lifecycle" : "");
    if (objection && world->scenario->cloud.lifecycle.on)
        live_note(result, "identities are not looked after: %s", objection);
}

/* The first process makes what is missing, then the others read it. */
static bool open_pki_together(struct live_world *world)
{
    bool good = world->rank > 0 || open_pki(world);
    if (!live_group_agree(world, good))
        return false;
    return world->rank == 0 || open_pki(world);
}

/* Needs the fleet's profiles only afterwards: the topics depend on where it connects. */
bool live_cloud_start(struct live_world *world)
{
    for (uint32_t b = 0; b < WORLD_BROKERS; b++)
        world->brokers[b].pid = world->brokers[b].news_fd = world->brokers[b].child.fd = -1;
    if (!live_group_agree(world, read_brokers(world) && choose_identities(world)))
        return false;
    bool embedded = world->brokers[0].embedded;
    world->profile = cloud_profile_find(embedded ? "embedded" : "plain");
    describe(world);
    if (!embedded)
        snprintf(world->topic_prefix, sizeof world->topic_prefix, "convoy/%s/", world->run_id);
    return open_pki_together(world) && start_children(world);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void count_registry(struct live_world *world, const struct live_broker *broker)
{
    char error[200];
    uint64_t things = 0, certificates, active = 0;
    struct cloud_registry *registry =
        broker->registry_path[0] ? cloud_registry_open(broker->registry_path, error, sizeof error) : NULL;
    if (!registry)
        return;
    cloud_registry_counts(registry, &things, &certificates, &active);
    cloud_registry_close(registry);
    world->result->registered_things += things;
    world->result->active_certificates += active;
}

void live_cloud_stop(struct live_world *world)
{
    for (uint32_t b = 0; b < WORLD_BROKERS; b++) {
        struct live_broker *broker = &world->brokers[b];
        double cpu_s = 0;
        if (broker->news_fd >= 0)
            close(broker->news_fd);
        broker->news_fd = -1;
        if (broker->pid <= 0)
            continue;
        cloud_serve_stop(broker->pid, broker->stop_fd, &cpu_s);
        broker->pid = -1;
        world->result->cloud_cpu_s += cpu_s;
        count_registry(world, broker);
    }
    if (world->pki)
        cloud_pki_close(world->pki);
    world->pki = NULL;
    free(world->identity);
    world->identity = NULL;
}
