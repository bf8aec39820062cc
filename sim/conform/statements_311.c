/* statements_311.c: the smaller catalogue: what of MQTT 3.1.1 a broker's wire shows, where it differs from 5.0 or where most depends on it.
 *
 * Ids are the standard's own (OASIS, 2014-10-29) with "V3-" before them; a line is as in statements.c. Every statement here is observed by a check.
 */
#include "sim/conform.h"

/* clang-format off */
#define MUST     CONFORM_MUST
#define TESTABLE CONFORM_TESTABLE
#define IF       CONFORM_CONDITIONAL

static const struct conform_statement statements[] = {
    {"V3-MQTT-1.5.3-1", "both", "any string", MUST, TESTABLE, "Strings that are no UTF-8 end the connection", "a topic with broken UTF-8", ""},
    {"V3-MQTT-1.5.3-2", "both", "any string", MUST, TESTABLE, "No U+0000 within a string", "a topic with U+0000", ""},
    {"V3-MQTT-2.2.2-2", "both", "fixed header", MUST, TESTABLE, "Flags other than the tabled ones end the connection", "wrong flags of every packet type", ""},
    {"V3-MQTT-2.3.1-1", "client", "SUBSCRIBE, PUBLISH", MUST, TESTABLE, "Packet identifiers are not 0", "an identifier of 0 is not served", ""},
    {"V3-MQTT-2.3.1-6", "both", "PUBACK, PUBREC", MUST, TESTABLE, "Acknowledgements carry the identifier of the message", "several messages at once", ""},
    {"V3-MQTT-2.3.1-7", "both", "SUBACK, UNSUBACK", MUST, TESTABLE, "Answers carry the identifier of the request", "several requests at once", ""},
    {"V3-MQTT-3.1.0-1", "client", "CONNECT", MUST, TESTABLE, "The first packet of a client is CONNECT", "another packet first is not served", ""},
    {"V3-MQTT-3.1.0-2", "server", "CONNECT", MUST, TESTABLE, "A second CONNECT ends the connection", "", ""},
    {"V3-MQTT-3.1.2-2", "server", "CONNECT", MUST, TESTABLE, "A protocol level that is not served: return code 0x01, then the end", "level 2", ""},
    {"V3-MQTT-3.1.2-3", "server", "CONNECT", MUST, TESTABLE, "The reserved connect flag is looked at; 1 ends the connection", "", ""},
    {"V3-MQTT-3.1.2-4", "server", "CONNECT", MUST, TESTABLE, "Clean Session 0 takes up the session there is, or begins one", "subscriptions are still there", ""},
    {"V3-MQTT-3.1.2-5", "server", "session", MUST, TESTABLE, "What comes for a client that is away is kept with QoS 1 and 2", "", ""},
    {"V3-MQTT-3.1.2-6", "server", "CONNECT", MUST, TESTABLE, "Clean Session 1 throws the session away", "", ""},
    {"V3-MQTT-3.1.2-7", "server", "session", MUST, IF, "Retained messages outlive the session they came in", "", ""},
    {"V3-MQTT-3.1.2-8", "server", "will", MUST, TESTABLE, "The will is published when the connection ends without DISCONNECT", "", ""},
    {"V3-MQTT-3.1.2-10", "server", "will", MUST, TESTABLE, "DISCONNECT takes the will away", "", ""},
    {"V3-MQTT-3.1.2-14", "client", "CONNECT", MUST, TESTABLE, "A will's QoS is not 3", "QoS 3 is not served", ""},
    {"V3-MQTT-3.1.2-17", "server", "will", MUST, IF, "A will with Will Retain 1 is retained", "", ""},
    {"V3-MQTT-3.1.2-22", "client", "CONNECT", MUST, TESTABLE, "No password without a user name", "it is not served", ""},
    {"V3-MQTT-3.1.2-24", "server", "keep alive", MUST, TESTABLE, "A silent client is cut off after one and a half times its keep alive", "keep alive 2 s", ""},
    {"V3-MQTT-3.1.3-5", "server", "CONNECT", MUST, TESTABLE, "Client identifiers of 1 to 23 letters and digits are taken", "23 bytes", ""},
    {"V3-MQTT-3.1.3-8", "server", "CONNECT", MUST, TESTABLE, "An empty client identifier with Clean Session 0: return code 0x02, then the end", "", ""},
    {"V3-MQTT-3.1.4-1", "server", "CONNECT", MUST, TESTABLE, "A CONNECT that is wrong ends the connection without CONNACK", "cut short, left over, no will where one is announced", ""},
    {"V3-MQTT-3.1.4-2", "server", "CONNECT", MUST, TESTABLE, "A second client with the same identifier ends the first one's connection", "", ""},
    {"V3-MQTT-3.2.0-1", "server", "CONNACK", MUST, TESTABLE, "The first packet of the server is CONNACK", "a session with messages waiting", ""},
    {"V3-MQTT-3.2.2-1", "server", "CONNACK", MUST, TESTABLE, "Clean Session 1: Session Present 0", "", ""},
    {"V3-MQTT-3.2.2-2", "server", "CONNACK", MUST, TESTABLE, "Clean Session 0: Session Present says whether there was one", "", ""},
    {"V3-MQTT-3.3.1-2", "both", "PUBLISH", MUST, TESTABLE, "DUP is 0 with QoS 0", "what comes; that a client's would have to end the connection is not said", ""},
    {"V3-MQTT-3.3.1-4", "both", "PUBLISH", MUST, TESTABLE, "QoS 3 ends the connection", "", ""},
    {"V3-MQTT-3.3.1-6", "server", "PUBLISH", MUST, IF, "A new subscription is sent the retained message", "", ""},
    {"V3-MQTT-3.3.1-8", "server", "PUBLISH", MUST, IF, "RETAIN is 1 on what a new subscription is sent", "", ""},
    {"V3-MQTT-3.3.1-9", "server", "PUBLISH", MUST, IF, "RETAIN is 0 on what an established subscription is sent", "", ""},
    {"V3-MQTT-3.3.1-10", "server", "PUBLISH", MUST, IF, "An empty retained message is delivered and takes the kept one away", "", ""},
    {"V3-MQTT-3.3.2-2", "client", "PUBLISH", MUST, TESTABLE, "No wildcards in topics", "such a message reaches nobody", ""},
    {"V3-MQTT-3.6.1-1", "server", "PUBREL", MUST, TESTABLE, "PUBREL with flags other than 0010 ends the connection", "", ""},
    {"V3-MQTT-3.8.3-3", "client", "SUBSCRIBE", MUST, TESTABLE, "A SUBSCRIBE has a filter", "none is a violation: the connection ends", ""},
    {"V3-MQTT-3.8.3-4", "server", "SUBSCRIBE", MUST, TESTABLE, "Reserved bits of the requested QoS, or QoS 3, end the connection", "", ""},
    {"V3-MQTT-3.8.4-3", "server", "SUBSCRIBE", MUST, TESTABLE, "The same filter again replaces the subscription", "another QoS, one copy", ""},
    {"V3-MQTT-3.8.4-5", "server", "SUBACK", MUST, TESTABLE, "SUBACK has a return code for each filter", "three filters", ""},
    {"V3-MQTT-3.9.3-2", "server", "SUBACK", MUST, TESTABLE, "Return codes are 0, 1, 2 and 0x80", "", ""},
    {"V3-MQTT-3.10.3-2", "client", "UNSUBSCRIBE", MUST, TESTABLE, "An UNSUBSCRIBE has a filter", "none is a violation: the connection ends", ""},
    {"V3-MQTT-3.10.4-2", "server", "UNSUBSCRIBE", MUST, TESTABLE, "After UNSUBSCRIBE nothing new is added for the client", "", ""},
    {"V3-MQTT-3.10.4-5", "server", "UNSUBACK", MUST, TESTABLE, "UNSUBSCRIBE is answered when nothing was subscribed to, too", "", ""},
    {"V3-MQTT-3.12.4-1", "server", "PINGRESP", MUST, TESTABLE, "PINGREQ is answered", "", ""},
    {"V3-MQTT-4.3.1-1", "both", "QoS 0", MUST, TESTABLE, "QoS 0 is delivered without an identifier", "", ""},
    {"V3-MQTT-4.3.2-1", "both", "QoS 1", MUST, IF, "QoS 1 is delivered until PUBACK", "", ""},
    {"V3-MQTT-4.3.3-1", "both", "QoS 2", MUST, IF, "QoS 2 is delivered once: PUBREC, PUBREL, PUBCOMP", "", ""},
    {"V3-MQTT-4.3.3-2", "both", "QoS 2", MUST, IF, "A message of QoS 2 sent again is not delivered again", "", ""},
    {"V3-MQTT-4.4.0-1", "both", "session", MUST, TESTABLE, "Clean Session 0: what was not acknowledged comes again under its own identifier", "PUBLISH, PUBREL", ""},
    {"V3-MQTT-4.6.0-6", "server", "order", MUST, TESTABLE, "Messages of one client on one topic keep their order", "", ""},
    {"V3-MQTT-4.7.1-2", "client", "filters", MUST, TESTABLE, "# stands alone at the end of a filter", "other places are refused", ""},
    {"V3-MQTT-4.7.1-3", "both", "filters", MUST, TESTABLE, "+ matches one level, and an empty one", "", ""},
    {"V3-MQTT-4.7.2-1", "server", "filters", MUST, IF, "Wildcards at the front do not match topics that begin with $", "", ""},
    {"V3-MQTT-4.7.3-4", "server", "filters", MUST, TESTABLE, "Topics are compared byte by byte, with case", "", ""},
    {"V3-MQTT-4.8.0-1", "both", "errors", MUST, TESTABLE, "A packet that breaks the protocol ends its connection", "packet types that clients do not send", ""},
};
/* clang-format on */

const struct conform_statement *conform_statement_311_at(uint32_t index)
{
    return index < sizeof(statements) / sizeof(statements[0]) ? &statements[index] : NULL;
}
