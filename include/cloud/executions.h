/* cloud/executions.h: the commands feature (cloud-contract 8.2): executions with statuses, at "commands/things/<thing>/executions/<id>/...".
 *
 * The desk (cloud/remote.h) starts an execution; the device is sent .../request/json at QoS 1 and answers on .../response/json; this service keeps the state
 * machine, answers accepted or rejected, raises the time-out that is no end, and publishes the events.
 */
#ifndef CLOUD_EXECUTIONS_H
#define CLOUD_EXECUTIONS_H

#include "cloud/speaker.h"

enum cloud_execution_status {
    CLOUD_EXECUTION_CREATED,
    CLOUD_EXECUTION_IN_PROGRESS,
    CLOUD_EXECUTION_SUCCEEDED,
    CLOUD_EXECUTION_FAILED,
    CLOUD_EXECUTION_REJECTED,
    CLOUD_EXECUTION_TIMED_OUT, /* by the device: an end; by the cloud ($NO_RESPONSE_FROM_DEVICE): not */
};
const char *cloud_execution_status_name(enum cloud_execution_status status); /* "IN_PROGRESS" */

struct cloud_executions_options {
    struct cloud_speaker speaker;
    int64_t epoch_us;
    uint32_t concurrent_per_device; /* 0: 100 */
    int64_t retention_us;           /* of ended ones; 0: 180 days */
    void (*changed)(void *context, int64_t now_us, struct span thing, struct span id,
                    enum cloud_execution_status status, bool terminal, struct span reason_code);
    void *context;
};
struct cloud_executions; /* begins with struct cloud_due */
struct cloud_executions *cloud_executions_create(const struct cloud_executions_options *options);
void cloud_executions_destroy(struct cloud_executions *executions);
/* command: the command resource's id ("unlock"); id: at most 64 characters of [a-zA-Z0-9_-]. timeout_us 0: 10 s; at most 12 h. payload goes to the device as
 * it is. Returns 200, 409 (id exists), 429 (too many), 400. */
int cloud_executions_start(struct cloud_executions *executions, int64_t now_us, struct span thing, struct span command,
                           struct span id, struct span payload, int64_t timeout_us);
/* A device's message on "commands/things/<thing>/executions/<id>/response/json": reason code for the PUBACK. */
uint8_t cloud_executions_request(struct cloud_executions *executions, int64_t now_us,
                                 const struct cloud_request *request, bool *taken);
bool cloud_executions_status(const struct cloud_executions *executions, struct span thing, struct span id,
                             enum cloud_execution_status *status, bool *terminal);
int64_t cloud_executions_next_deadline(const struct cloud_executions *executions);
void cloud_executions_tick(struct cloud_executions *executions, int64_t now_us);
uint64_t cloud_executions_bytes(const struct cloud_executions *executions);

#endif
