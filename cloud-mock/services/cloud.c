/* cloud.c: broker and services put together: one cloud instance, for a partition of the virtual world or behind the doors of `convoy cloud`. */
#include "cloud/lifecycle.h"
#include "cloud/reserved.h"
#include "cloud/services.h"

static void on_send(void *context, void *link, const uint8_t *data, size_t length)
{
    struct cloud *cloud = context;
    cloud->send(cloud->door, link, data, length);
}

static void on_close(void *context, void *link, enum cloud_close_reason reason)
{
    struct cloud *cloud = context;
    cloud->close(cloud->door, link, reason);
}

/* Compares without telling by time how far it was right. */
static bool same_secret(struct span given, const char *wanted)
{
    size_t length = strlen(wanted);
    uint8_t difference = given.length != length;
    for (size_t i = 0; i < length; i++)
        difference |= (uint8_t)wanted[i] ^ (i < given.length ? given.data[i] : 0xFF);
    return difference == 0;
}

static struct cloud_authorisation without_certificate(const struct cloud *cloud, const struct mq5_connect *connect)
{
    const struct cloud_options *options = &cloud->options;
    if (options->require_certificate)
        return (struct cloud_authorisation){.reason = MQ5_NOT_AUTHORIZED, .silent = false};
    if (!options->user_name || connect->properties.present & MQ5_BIT(MQ5_AUTHENTICATION_METHOD))
        return (struct cloud_authorisation){.reason = MQ5_SUCCESS, .silent = false};
    bool user = strcmp(options->user_name, "%") == 0 ? span_equal(connect->user_name, connect->client_id)
                                                     : span_equal(connect->user_name, span_text(options->user_name));
    bool password = !options->password || same_secret(connect->password, options->password);
    return (struct cloud_authorisation){.reason = user && password ? MQ5_SUCCESS : MQ5_BAD_USER_NAME_OR_PASSWORD,
                                        .silent = false};
}

static struct cloud_authorisation with_certificate(struct cloud *cloud, int64_t now_us,
                                                   const struct mq5_connect *connect, const struct cloud_peer *peer)
{
    if (!cloud->lifecycle)
        return cloud_registration_authorise(cloud->registration, now_us, connect, peer);
    cloud->now_us = now_us;
    return cloud_lifecycle_authorise_connect(cloud->lifecycle, now_us, connect, peer);
}

static struct cloud_authorisation on_authorise(void *context, int64_t now_us, const struct mq5_connect *connect,
                                               const struct cloud_peer *peer)
{
    struct cloud *cloud = context;
    if (cloud->elsewhere) {
        struct cloud_authorisation away = cloud->elsewhere(cloud->guide ? cloud->guide : cloud->door, now_us, connect);
        if (away.reason != MQ5_SUCCESS)
            return away;
    }
    cloud_registration_tick(cloud->registration,
                            now_us); /* activations due at this very moment come before the connect */
    if (peer && peer->inside)
        return (struct cloud_authorisation){.reason = MQ5_SUCCESS};
    struct cloud_authorisation answer = peer && peer->has_certificate ? with_certificate(cloud, now_us, connect, peer)
                                                                      : without_certificate(cloud, connect);
    if (answer.reason != MQ5_SUCCESS && cloud->on_refused)
        cloud->on_refused(cloud->door, now_us, connect->client_id, peer, answer.reason);
    return answer;
}

static struct cloud_authentication on_authenticate(void *context, int64_t now_us, void *link,
                                                   enum cloud_authentication_step step, struct span method,
                                                   struct span data)
{
    struct cloud *cloud = context;
    return cloud->options.authenticate(cloud->door, now_us, link, step, method, data);
}

static uint8_t on_publish(void *context, struct span client_id, const struct cloud_peer *peer,
                          const struct mq5_publish *publish)
{
    struct cloud *cloud = context;
    if (peer && peer->inside)
        return MQ5_SUCCESS;
    return cloud_lifecycle_authorise_publish(cloud->lifecycle, cloud->now_us, client_id, peer, publish);
}

static uint8_t on_subscribe(void *context, struct span client_id, const struct cloud_peer *peer, struct span filter,
                            uint8_t qos)
{
    struct cloud *cloud = context;
    if (peer && peer->inside)
        return MQ5_SUCCESS;
    return cloud_lifecycle_authorise_subscribe(cloud->lifecycle, cloud->now_us, client_id, peer, filter, qos);
}

static bool on_receive(void *context, struct span client_id, const struct cloud_peer *peer, struct span topic)
{
    struct cloud *cloud = context;
    if (peer && peer->inside)
        return true;
    return cloud_lifecycle_authorise_receive(cloud->lifecycle, cloud->now_us, client_id, peer, topic);
}

static uint8_t on_reserved(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                           const struct mq5_publish *publish)
{
    struct cloud *cloud = context;
    bool taken = false;
    uint8_t reason = MQ5_NOT_AUTHORIZED;
    if (cloud->reserved)
        reason = cloud_reserved_request(cloud->reserved, now_us, client_id, peer, publish, &taken);
    return taken || !cloud->lifecycle ? reason
                                      : cloud_lifecycle_reserved(cloud->lifecycle, now_us, client_id, peer, publish);
}

static void on_activated(void *context, int64_t now_us, const struct cloud_certificate *certificate)
{
    struct cloud *cloud = context;
    if (cloud->lifecycle)
        cloud_lifecycle_activated(cloud->lifecycle, now_us, certificate);
}

static void on_connected(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                         const struct mq5_connect *connect, bool resumed)
{
    struct cloud *cloud = context;
    if (cloud->options.profile->presence_events)
        cloud_presence_connected(cloud->presence, now_us, client_id, peer);
    if (cloud->lifecycle)
        cloud_lifecycle_connected(cloud->lifecycle, now_us, client_id, peer);
    if (cloud->on_connected)
        cloud->on_connected(cloud->door, now_us, client_id, peer, connect, resumed);
}

static void on_disconnected(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                            enum cloud_close_reason reason)
{
    struct cloud *cloud = context;
    if (cloud->options.profile->presence_events)
        cloud_presence_disconnected(cloud->presence, now_us, client_id, peer, reason);
    if (cloud->lifecycle)
        cloud_lifecycle_disconnected(cloud->lifecycle, now_us, client_id, peer, reason);
    if (cloud->on_disconnected)
        cloud->on_disconnected(cloud->door, now_us, client_id, peer, reason);
}

static bool on_inbound(void *context, int64_t now_us, struct span client_id, const struct mq5_packet *packet)
{
    struct cloud *cloud = context;
    if (cloud->lifecycle)
        cloud->now_us = now_us;
    return cloud->inbound ? cloud->inbound(cloud->guide ? cloud->guide : cloud->door, now_us, client_id, packet) : true;
}

static bool on_outbound(void *context, int64_t now_us, struct span client_id, const struct mq5_packet *packet)
{
    struct cloud *cloud = context;
    return cloud->outbound ? cloud->outbound(cloud->door, now_us, client_id, packet) : true;
}

static const struct cloud_peer *on_peer(void *context, void *link)
{
    struct cloud *cloud = context;
    return cloud->peer ? cloud->peer(cloud->door, link) : NULL;
}

static bool create_lifecycle(struct cloud *cloud)
{
    struct cloud_options *options = &cloud->options;
    struct cloud_lifecycle_parts parts = {.broker = cloud->broker,
                                          .bus = cloud->bus,
                                          .registry = cloud->registry,
                                          .pki = cloud->pki,
                                          .prefix = options->profile->reserved,
                                          .event_prefix = options->profile->event_prefix,
                                          .registration = cloud->registration};
    cloud->lifecycle = cloud_lifecycle_create(options->lifecycle, &parts, options->error, options->error_capacity);
    cloud->certificates.resolve = cloud_lifecycle_resolve;
    cloud->certificates.resolve_context = cloud->lifecycle;
    options->lifecycle = NULL; /* was the caller's */
    options->error = NULL;
    return cloud->lifecycle != NULL;
}

static bool create_reserved(struct cloud *cloud)
{
    struct cloud_options *options = &cloud->options;
    struct cloud_reserved_options reserved = {.shadow = options->shadow,
                                              .executions = options->executions,
                                              .prefix = options->profile->reserved,
                                              .event_prefix = options->profile->event_prefix,
                                              .epoch_us = options->epoch_us,
                                              .own_only = !cloud->lifecycle};
    if (!options->shadow && !options->executions)
        return true;
    cloud->reserved = cloud_reserved_create(&reserved, cloud->broker, cloud->bus, 0);
    options->shadow = NULL; /* were the caller's */
    options->executions = NULL;
    return cloud->reserved != NULL;
}

bool cloud_create(struct cloud *cloud, const struct cloud_options *options, struct cloud_pki *pki,
                  struct cloud_registry *registry,
                  void (*send)(void *door, void *link, const uint8_t *data, size_t length),
                  void (*close)(void *door, void *link, enum cloud_close_reason reason), void *door)
{
    memset(cloud, 0, sizeof *cloud);
    cloud->options = *options;
    if (!cloud->options.profile)
        cloud->options.profile = cloud_profile_find("embedded");
    if (cloud->options.registration.epoch_us == 0)
        cloud->options.registration.epoch_us = options->epoch_us;
    cloud->pki = pki;
    cloud->registry = registry;
    cloud->door = door;
    cloud->send = send;
    cloud->close = close;
    cloud->ops = (struct cloud_broker_ops){.send = on_send,
                                           .close = on_close,
                                           .authorise_connect = on_authorise,
                                           .connected = on_connected,
                                           .disconnected = on_disconnected,
                                           .inbound = on_inbound,
                                           .outbound = on_outbound,
                                           .peer = on_peer};
    if (options->authenticate)
        cloud->ops.authenticate = on_authenticate;
    if (options->lifecycle) {
        cloud->ops.authorise_publish = on_publish;
        cloud->ops.authorise_subscribe = on_subscribe;
        cloud->ops.authorise_receive = on_receive;
        cloud->options.registration.activated = on_activated;
        cloud->options.registration.activated_context = cloud;
    }
    if (options->lifecycle || options->shadow || options->executions)
        cloud->ops.reserved = on_reserved;
    cloud->options.registration.event_prefix = cloud->options.profile->event_prefix;
    cloud->certificates = (struct cloud_certificate_broker){.pki = pki, .lifetime_s = options->certificate_lifetime_s};
    cloud->broker = cloud_broker_create(&cloud->options.broker, &cloud->ops, cloud, options->seed);
    cloud->bus = cloud->broker ? cloud_bus_local(cloud->broker, SPAN_LITERAL("cloud-services")) : NULL;
    cloud->registration =
        cloud->bus ? cloud_registration_create(&cloud->options.registration, pki, registry, cloud->bus) : NULL;
    cloud->presence =
        cloud->registration ? cloud_presence_create(cloud->bus, cloud->options.profile, options->epoch_us) : NULL;
    if (cloud->presence && (!options->lifecycle || create_lifecycle(cloud)) && create_reserved(cloud))
        return true;
    cloud_destroy(cloud);
    return false;
}

void cloud_destroy(struct cloud *cloud)
{
    cloud_reserved_destroy(cloud->reserved);
    cloud_lifecycle_destroy(cloud->lifecycle);
    if (cloud->presence)
        cloud_presence_destroy(cloud->presence);
    if (cloud->registration)
        cloud_registration_destroy(cloud->registration);
    if (cloud->bus)
        cloud->bus->ops->close(cloud->bus);
    if (cloud->broker)
        cloud_broker_destroy(cloud->broker);
    memset(cloud, 0, sizeof *cloud);
}

uint64_t cloud_bytes(const struct cloud *cloud)
{
    return cloud_registration_bytes(cloud->registration) + cloud_presence_bytes(cloud->presence) +
           (cloud->lifecycle ? cloud_lifecycle_bytes(cloud->lifecycle) : 0) +
           (cloud->reserved ? cloud_reserved_bytes(cloud->reserved) : 0);
}

void cloud_tick(struct cloud *cloud, int64_t now_us)
{
    cloud_registration_tick(cloud->registration, now_us);
    if (cloud->lifecycle) {
        cloud->now_us = now_us;
        cloud_lifecycle_tick(cloud->lifecycle, now_us);
    }
    if (cloud->reserved)
        cloud_reserved_tick(cloud->reserved, now_us);
    cloud_broker_tick(cloud->broker, now_us);
}
