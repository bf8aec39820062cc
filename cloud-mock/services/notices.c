/* notices.c: what the cloud tells a vehicle of its own accord: weather, a hazard ahead, an update that waits. */
#include "cloud/messages.h"

#include "remote_topic.h"

#include <stdio.h>

uint8_t cloud_notice_send(struct cloud_bus *bus, int64_t now_us, const char *topic, struct span thing,
                          const struct cloud_notice *notice)
{
    char filled[256], body[192];
    struct span begin = remote_topic(topic, thing, filled, sizeof filled);
    size_t kind = strlen(notice->kind);
    if (!begin.length || begin.length + kind >= sizeof filled)
        return MQ5_TOPIC_NAME_INVALID;
    memcpy(filled + begin.length, notice->kind, kind);
    int length = snprintf(body, sizeof body, "{\"notice\":\"%s\",\"n\":%u,\"ts\":%lld,\"until\":%lld}", notice->kind,
                          notice->number, (long long)notice->wall_us, (long long)notice->until_us);
    if (length < 0 || (size_t)length >= sizeof body)
        return MQ5_PAYLOAD_FORMAT_INVALID;
    struct mq5_publish publish = {.qos = notice->qos,
                                  .retain = notice->retained,
                                  .topic = span_of(filled, begin.length + kind),
                                  .payload = span_of(body, (size_t)length)};
    if (notice->expiry_s) {
        publish.properties.present = MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
        publish.properties.message_expiry_s = notice->expiry_s;
    }
    return bus->ops->publish(bus, now_us, &publish);
}
