/* cloud/reserved.h: shadows and executions behind reserved topics: of a broker of our own, or over ordinary topics of somebody else's.
 *
 * A shadow's answers are published: who wants them has subscribed (cloud-contract, conventions). Those of executions go straight to who asked.
 */
#ifndef CLOUD_RESERVED_H
#define CLOUD_RESERVED_H

#include "cloud/bus.h"
#include "cloud/executions.h"
#include "cloud/shadow.h"

struct cloud_reserved_options {
    /* NULL: not offered. Copied; speaker, epoch_us, refused and unanswered are set here, the rest is the caller's. */
    const struct cloud_shadow_options *shadow;
    const struct cloud_executions_options *executions;
    const char *prefix;       /* "$aws/", or "convoy/%/" with '%' for the client id; lent */
    const char *event_prefix; /* "$aws/events"; lent */
    int64_t epoch_us;
    bool own_only; /* nobody asks about policies: a client with a certificate may ask for its own thing only (403) */
};
struct cloud_reserved;
/* broker NULL: somebody else's; then prefix has a '%', and requests are heard on the bus. NULL: out of memory, or a subscription was refused. */
struct cloud_reserved *cloud_reserved_create(const struct cloud_reserved_options *options, struct cloud_broker *broker,
                                             struct cloud_bus *bus, int64_t now_us);
void cloud_reserved_destroy(struct cloud_reserved *reserved);                        /* NULL is nothing */
struct cloud_shadow *cloud_reserved_shadow(struct cloud_reserved *reserved);         /* NULL: not offered */
struct cloud_executions *cloud_reserved_executions(struct cloud_reserved *reserved); /* NULL: not offered */
/* For the broker's hook: reason code for the PUBACK. !*taken: a topic of another service. */
uint8_t cloud_reserved_request(struct cloud_reserved *reserved, int64_t now_us, struct span client_id,
                               const struct cloud_peer *peer, const struct mq5_publish *publish, bool *taken);
int64_t cloud_reserved_next_deadline(const struct cloud_reserved *reserved);
void cloud_reserved_tick(struct cloud_reserved *reserved, int64_t now_us);
uint64_t cloud_reserved_bytes(const struct cloud_reserved *reserved);

/* A service attached in-process asks as a client does: what it publishes on a shadow's topics is a request, everything else goes to `bus`, which is closed
 * with this one. NULL: out of memory. */
struct cloud_bus *cloud_reserved_bus(struct cloud_reserved *reserved, struct cloud_bus *bus, struct span client_id);

#endif
