/* mqtt5/topic.h: topic names and filters (MQTT 5 section 4.7, 4.8). Pure functions, no allocation. */
#ifndef MQTT5_TOPIC_H
#define MQTT5_TOPIC_H

#include "base.h"

/* Valid UTF-8 without U+0000 and surrogates (1.5.4). */
bool mq5_utf8_valid(struct span text);
/* At least one byte, no wildcard. */
bool mq5_topic_name_valid(struct span topic);
/* Wildcards alone in their level, '#' last. `$share/` filters are checked whole. */
bool mq5_topic_filter_valid(struct span filter);
/* Splits "$share/name/filter": true and both parts, false if it is no shared filter. Parts are views. */
bool mq5_topic_share_split(struct span filter, struct span *name, struct span *rest);
/* Does a (non-shared) filter match a name? Topics beginning with '$' are not matched by a leading wildcard. */
bool mq5_topic_matches(struct span filter, struct span topic);

#endif
