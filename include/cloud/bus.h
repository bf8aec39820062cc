/* cloud/bus.h: how a service speaks MQTT: attached in-process to the embedded broker, or through Paho to somebody else's.
 *
 * Handlers run on the caller's thread: in-process at once, with Paho from cloud_bus_poll().
 */
#ifndef CLOUD_BUS_H
#define CLOUD_BUS_H

#include "cloud/broker.h"

typedef void cloud_bus_handler(void *context, int64_t now_us, const struct mq5_publish *message);

struct cloud_bus {
    const struct cloud_bus_ops *ops;
};
struct cloud_bus_ops {
    /* Reason code (granted QoS or error). Several handlers may match one message; each is called once. */
    uint8_t (*subscribe)(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                         cloud_bus_handler *handler, void *context);
    /* Reason code; a Paho bus answers MQ5_SUCCESS when queued (outcome unknown yet). */
    uint8_t (*publish)(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message);
    void (*close)(struct cloud_bus *bus);
};

/* In-process; client_id is the service's. NULL: broker full. */
struct cloud_bus *cloud_bus_local(struct cloud_broker *broker, struct span client_id);

/* cloud-mock/serve: Paho MQTTAsync, MQTT 5. */
struct cloud_bus_remote_options {
    const char *uri; /* mqtt://host:port or mqtts://host:port */
    const char *client_id;
    const char *user_name, *password;                  /* NULL: none */
    const char *ca_file, *certificate_file, *key_file; /* NULL: none */
    bool verify_name;
    void (*wake)(void *context); /* called on Paho's thread when cloud_bus_poll() has work; e.g. ev_async_send */
    void *wake_context;
};
/* Connects (waits up to timeout_ms). NULL: *error says why in one line. */
struct cloud_bus *cloud_bus_remote(const struct cloud_bus_remote_options *options, int timeout_ms, char *error,
                                   size_t error_capacity);
/* Runs handlers of what has arrived, with now_us as the time; returns the number. Messages carry the arrival time (CLOCK_MONOTONIC µs) to
 * handlers registered on a remote bus: now_us given to the handler is the arrival's, not the poll's. */
uint32_t cloud_bus_poll(struct cloud_bus *bus);
bool cloud_bus_connected(const struct cloud_bus *bus);

struct cloud_bus_counts {
    uint64_t arrived, overflowed;       /* messages taken in; lost because too many were waiting for cloud_bus_poll() */
    uint64_t published, publish_failed; /* taken by Paho; not taken, or refused by the broker */
    uint64_t reconnects;
};
/* Zeros for an in-process bus, which loses nothing. */
void cloud_bus_count(const struct cloud_bus *bus, struct cloud_bus_counts *out);

#endif
