/* paho_properties.h: a message's MQTT 5 properties, to and from Paho MQTT C's lists: for whoever speaks MQTT through Paho.
 *
 * What belongs to a connection, a subscription or an acknowledgement is not looked at; paho_property_add() is for that.
 */
#ifndef PAHO_PROPERTIES_H
#define PAHO_PROPERTIES_H

#include "mqtt5/packet.h"

#include <MQTTProperties.h>

/* Upper bound of the bytes that paho_properties_in() copies. */
size_t paho_properties_bytes(const MQTTProperties *from);
/* Sets *to from the list; texts are copied to `copy` and are views of it. Repeatables as the decoder leaves them: a block, to be walked. */
void paho_properties_in(struct mq5_properties *to, const MQTTProperties *from, uint8_t *copy);
/* Of a message or a will. Paho copies; free with MQTTProperties_free(). */
void paho_properties_out(MQTTProperties *to, const struct mq5_properties *from);
/* A number, as wide as the property has it. */
void paho_property_add(MQTTProperties *to, enum MQTTPropertyCodes identifier, uint32_t value);

#endif
