/* cloud/speaker.h: how a service behind reserved topics is asked and answers.
 *
 * A client's PUBLISH on a reserved topic is handed to the service it is for instead of being routed; the answer goes straight to who asked,
 * subscribed or not (cloud-contract, conventions). Services see topics without the profile's prefix ("$aws/", or "convoy/<client id>/"
 * on somebody else's broker): "things/car-7/jobs/start-next", "certificates/create-from-csr/json". JSON bodies.
 */
#ifndef CLOUD_SPEAKER_H
#define CLOUD_SPEAKER_H

#include "cloud/broker.h"

struct cloud_speaker {
    /* Straight to the client that asked, QoS 1. */
    void (*answer)(void *context, int64_t now_us, struct span client_id, struct span topic, struct span payload);
    /* To whoever has subscribed and may receive it, QoS 1; `thing`: whom it concerns. */
    void (*tell)(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload);
    /* The same, and nobody needs it after so long (message expiry). NULL: tell(). */
    void (*tell_until)(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload,
                       int64_t expires_us);
    /* To the back office, under the profile's event prefix: topic "jobExecution/rotate-1/succeeded". */
    void (*event)(void *context, int64_t now_us, struct span topic, struct span payload);
    void *context;
};

/* A request on a reserved topic. Spans and peer are lent during the call. */
struct cloud_request {
    struct span client_id;
    const struct cloud_peer *peer; /* NULL: nothing is known of the other end (external broker) */
    struct span topic;             /* without the prefix */
    struct span payload;
};

#endif
