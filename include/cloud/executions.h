/* cloud/executions.h: the commands feature (cloud-contract 8.2): executions with statuses, at "commands/things/<thing>/executions/<id>/...".
 *
 * The desk (cloud/remote.h) starts an execution; the device is sent .../request/json at QoS 1 and answers on .../response/json; this service keeps the state
 * machine, answers accepted or rejected, raises the time-out that is no end, and publishes the events.
 */
#ifndef CLOUD_EXECUTIONS_H
#define CLOUD_EXECUTIONS_H

#include "cloud/speaker.h"

/* Not those of jobs (cloud/jobs.h). */
enum cloud_execution_status {
    CLOUD_EXECUTIONS_CREATED,
    CLOUD_EXECUTIONS_IN_PROGRESS,
    CLOUD_EXECUTIONS_SUCCEEDED,
    CLOUD_EXECUTIONS_FAILED,
    CLOUD_EXECUTIONS_REJECTED,
    CLOUD_EXECUTIONS_TIMED_OUT, /* by the device: an end; by the cloud ($NO_RESPONSE_FROM_DEVICE): not */
    CLOUD_EXECUTIONS_STATUSES
};
const char *cloud_execution_status_name(enum cloud_execution_status status); /* "IN_PROGRESS" */

struct cloud_executions_options {
    struct cloud_speaker speaker;
    int64_t epoch_us;
    uint32_t concurrent_per_device; /* CREATED or IN_PROGRESS; 0: 100 */
    int64_t retention_us;           /* of ended ones, and of those whose time is over; 0: 180 days */
    void (*changed)(void *context, int64_t now_us, struct span thing, struct span id,
                    enum cloud_execution_status status, bool terminal, struct span reason_code);
    void *context;
};
struct cloud_executions; /* begins with struct cloud_due */
struct cloud_executions *cloud_executions_create(const struct cloud_executions_options *options);
void cloud_executions_destroy(struct cloud_executions *executions);
/* command: the command resource's id ("unlock"); id: at most 64 characters of [a-zA-Z0-9_-]. timeout_us 0: 10 s; at most 12 h. payload goes to the device as
 * it is. Returns 200, 409 (id exists), 429 (too many), 400, 500 (out of memory). */
int cloud_executions_start(struct cloud_executions *executions, int64_t now_us, struct span thing, struct span command,
                           struct span id, struct span payload, int64_t timeout_us);
/* Sends the request of one that has not ended once more, with this payload: to the device it is the same one. Returns 200, 404 (no such one), 409 (ended).
 * The commands feature has nothing like it: whoever started it there could only wait. */
int cloud_executions_again(struct cloud_executions *executions, int64_t now_us, struct span thing, struct span id,
                           struct span payload, int64_t expires_us);
/* A device's message on "commands/things/<thing>/executions/<id>/response/json": reason code for the PUBACK. !*taken: another topic. */
uint8_t cloud_executions_request(struct cloud_executions *executions, int64_t now_us,
                                 const struct cloud_request *request, bool *taken);
bool cloud_executions_status(const struct cloud_executions *executions, struct span thing, struct span id,
                             enum cloud_execution_status *status, bool *terminal);
/* The last response that was accepted, as the device sent it; lent until the next call. Empty: none. */
struct span cloud_executions_reported(const struct cloud_executions *executions, struct span thing, struct span id);
int64_t cloud_executions_next_deadline(const struct cloud_executions *executions);
void cloud_executions_tick(struct cloud_executions *executions, int64_t now_us);
uint64_t cloud_executions_bytes(const struct cloud_executions *executions);

#endif
