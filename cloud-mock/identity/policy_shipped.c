/* policy_shipped.c: the documents the product comes with.
 *
 * "vehicle": its own topics and no others, as long as its certificate is attached to the thing it connects as. Under convoy/<client id>/ it
 * finds what is reserved where "$aws/" is not to be had. "claim": what getting a first identity needs. "wide": everything, a flaw.
 */
#include "policy_internal.h"

#define THING  "${iot:Connection.Thing.ThingName}"
#define OWN    "convoy/${iot:ClientId}/"
#define CLIENT "\"arn:aws:iot:*:*:client/"
#define TOPIC  "\"arn:aws:iot:*:*:topic/"
#define FILTER "\"arn:aws:iot:*:*:topicfilter/"

#define ALLOW(actions, resources) "{\"Effect\":\"Allow\",\"Action\":[" actions "],\"Resource\":[" resources "]}"
#define POLICY(statements)        "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"

/* clang-format off */
static const char vehicle[] = POLICY(
    ALLOW("\"iot:Connect\"", CLIENT THING "\"") ","
    ALLOW("\"iot:Publish\"", TOPIC "dt/" THING "/*\"," TOPIC "cmd/" THING "/*\"," TOPIC "vehicle/" THING "/*\","
                             TOPIC "vehicleactive/" THING "\"") ","
    ALLOW("\"iot:Publish\",\"iot:RetainPublish\"", TOPIC "presence/" THING "\"") ","
    ALLOW("\"iot:Receive\"", TOPIC "cmd/" THING "/request\"") ","
    ALLOW("\"iot:Publish\",\"iot:Receive\"",
          TOPIC "$aws/things/" THING "/*\","
          TOPIC "$aws/commands/things/" THING "/*\","
          TOPIC "$aws/certificates/create-from-csr/*\","
          TOPIC "$aws/provisioning-templates/rotation/provision/*\","
          TOPIC OWN "things/" THING "/*\","
          TOPIC OWN "commands/things/" THING "/*\","
          TOPIC OWN "certificates/create-from-csr/*\","
          TOPIC OWN "provisioning-templates/rotation/provision/*\"") ","
    ALLOW("\"iot:Subscribe\"",
          FILTER "cmd/" THING "/request\","
          FILTER "$aws/things/" THING "/*\","
          FILTER "$aws/commands/things/" THING "/*\","
          FILTER "$aws/certificates/create-from-csr/*\","
          FILTER "$aws/provisioning-templates/rotation/provision/*\","
          FILTER OWN "*\"")); /* what comes is what may be received */

static const char claim[] = POLICY(
    ALLOW("\"iot:Connect\"", CLIENT "*\"") ","
    ALLOW("\"iot:Publish\",\"iot:Receive\"",
          TOPIC "$aws/certificates/create*\","
          TOPIC "$aws/provisioning-templates/claim/*\","
          TOPIC OWN "certificates/create*\","
          TOPIC OWN "provisioning-templates/claim/*\"") ","
    ALLOW("\"iot:Subscribe\"",
          FILTER "$aws/certificates/create*\","
          FILTER "$aws/provisioning-templates/claim/*\","
          FILTER OWN "*\""));
/* clang-format on */

static const char wide[] = POLICY(ALLOW("\"iot:*\"", "\"*\""));

_Static_assert(sizeof(vehicle) - 1 <= CLOUD_POLICY_DOCUMENT_MAX, "too long for a policy");

const char *cloud_policy_shipped(const char *name)
{
    return strcmp(name, "vehicle") == 0 ? vehicle
           : strcmp(name, "claim") == 0 ? claim
           : strcmp(name, "wide") == 0  ? wide
                                        : NULL;
}
