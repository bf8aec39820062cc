/* Policies at the broker's door: what a denial means to a client of either version, as the options say. */
#include "tests/unit/broker_rig.h"
#include "tests/unit/policy_rig.h"

static const struct cloud_policy *policy; /* of the connection under test: its hooks ask it */
static char thing[] = "V1";

static bool may(struct span client_id, enum cloud_action action, struct span name, const struct mq5_connect *connect)
{
    struct cloud_principal principal = {.client_id = client_id, .thing = span_text(thing)};
    if (connect) {
        principal.persistent = !connect->clean_start;
        principal.last_will = connect->has_will;
    }
    return cloud_policy_decide(&policy, 1, action, name, &principal) == CLOUD_ALLOWED;
}

static struct cloud_authorisation ask_connect(void *context, int64_t now_us, const struct mq5_connect *connect,
                                              const struct cloud_peer *peer)
{
    bool allowed = may(connect->client_id, CLOUD_ACTION_CONNECT, connect->client_id, connect);
    return (struct cloud_authorisation){.reason = allowed ? MQ5_SUCCESS : MQ5_NOT_AUTHORIZED, .silent = false};
}

static uint8_t ask_publish(void *context, struct span client_id, const struct cloud_peer *peer,
                           const struct mq5_publish *publish)
{
    bool allowed = may(client_id, CLOUD_ACTION_PUBLISH, publish->topic, NULL) &&
                   (!publish->retain || may(client_id, CLOUD_ACTION_RETAIN_PUBLISH, publish->topic, NULL));
    return allowed ? MQ5_SUCCESS : MQ5_NOT_AUTHORIZED;
}

static uint8_t ask_subscribe(void *context, struct span client_id, const struct cloud_peer *peer, struct span filter,
                             uint8_t qos)
{
    return may(client_id, CLOUD_ACTION_SUBSCRIBE, filter, NULL) ? MQ5_SUCCESS : MQ5_NOT_AUTHORIZED;
}

static bool ask_receive(void *context, struct span client_id, const struct cloud_peer *peer, struct span topic)
{
    return may(client_id, CLOUD_ACTION_RECEIVE, topic, NULL);
}

static void play(struct cloud_policy *of, const char *script)
{
    struct rig *rig = rig_new();
    rig->ops.authorise_connect = ask_connect;
    rig->ops.authorise_publish = ask_publish;
    rig->ops.authorise_subscribe = ask_subscribe;
    rig->ops.authorise_receive = ask_receive;
    policy = of;
    rig_play(rig, script);
    rig_end(rig);
    free(rig);
    cloud_policy_free(of);
}

/* One line of a conversation, one line here. */
/* clang-format off */
static void a_vehicle_with_least_privilege(void **state)
{
    play(policy_shipped("vehicle"),
         "hook reserved\n"
         "L> SUB q1 dt/#\n"
         "x> CONNECT id=V2\n" /* somebody else's name */
         "x< CONNACK 87\n"
         "x< CLOSE AUTH_ERROR\n"
         "v> CONNECT id=V1\n"
         "v< CONNACK 00\n"
         "v> SUBSCRIBE #1 cmd/V1/request:1 cmd/+/request:1 #:1 $aws/things/V1/jobs/notify-next:1\n"
         "v< SUBACK #1 01 87 87 01\n"
         "v> PUBLISH q1 #1 dt/V1/telemetry=x\n"
         "L< q1 dt/V1/telemetry=x\n"
         "v< PUBACK #1 00\n"
         "v> PUBLISH q1 #2 dt/V2/telemetry=x\n"
         "v< PUBACK #2 87\n"
         "v> PUBLISH q1 #3 retain dt/V1/telemetry=x\n" /* allowed but for retaining */
         "v< PUBACK #3 87\n"
         "v> PUBLISH q1 #4 $aws/things/V1/jobs/start-next=x\n"
         "R< V1 q1 $aws/things/V1/jobs/start-next=x\n"
         "v< PUBACK #4 00\n"
         "v> PUBLISH q1 #5 $aws/things/V2/jobs/start-next=x\n" /* the service is not even asked */
         "v< PUBACK #5 87\n"
         "v> PUBLISH q2 #6 dt/V2/telemetry=x\n"
         "v< PUBREC #6 87\n"
         "v> PUBLISH q0 dt/V2/telemetry=x\n"
         "M> PUB q1 cmd/V1/request=go\n"
         "v< PUBLISH q1 #1 cmd/V1/request=go\n"
         "D> DELIVER V1 q1 $aws/certificates/create-from-csr/json/accepted=c\n"
         "v< PUBLISH q1 #2 $aws/certificates/create-from-csr/json/a..47=c\n"
         "D> DELIVER V1 q1 $aws/things/V2/jobs/notify-next=c\n"
         "D< reason 87\n");
}

static void an_old_client_with_least_privilege(void **state)
{
    play(policy_shipped("vehicle"), "L> SUB q1 dt/#\n"
                                    "x> CONNECT id=V2 v=4 clean\n"
                                    "x< CONNACK 05\n"
                                    "x< CLOSE AUTH_ERROR\n"
                                    "v> CONNECT id=V1 v=4 clean\n"
                                    "v< CONNACK 00\n"
                                    "v> SUBSCRIBE #1 cmd/V1/request:1 cmd/+/request:1\n"
                                    "v< SUBACK #1 01 80\n"
                                    "v> PUBLISH q1 #1 dt/V1/telemetry=x\n"
                                    "L< q1 dt/V1/telemetry=x\n"
                                    "v< PUBACK #1 00\n"
                                    "v> PUBLISH q1 #2 dt/V2/telemetry=x\n"
                                    "v< CLOSE AUTH_ERROR\n");
}

/* A subscription wider than what may be received: silence for the rest. */
static const char wide_reader[] = "A Connect client/*;A Subscribe topicfilter/*;A Receive topic/open/*";

static void what_may_not_be_received_is_silence(void **state)
{
    for (int version = 4; version <= 5; version++) {
        char script[600];
        snprintf(script, sizeof(script),
                 "v> CONNECT id=V1 v=%d clean\n"
                 "v< CONNACK 00\n"
                 "v> SUBSCRIBE #1 #:1\n"
                 "v< SUBACK #1 01\n"
                 "M> PUB q1 secret/a=1\n"
                 "M> PUB q1 open/a=2\n"
                 "v< PUBLISH q1 #1 open/a=2\n"
                 "M> PUB q0 secret/a=3\n"
                 "M> PUB q0 open/a=4\n"
                 "v< PUBLISH q0 open/a=4\n",
                 version);
        play(policy_make(wide_reader), script);
    }
}

static void denied_and_closed(void **state)
{
    static const char closing[] = "opt denied_publish_closes_v5=1\n"
                                  "opt denied_subscribe_closes=1\n";
    for (int version = 4; version <= 5; version++) {
        const char *last_word = version == 5 ? "v< DISCONNECT 87\n" : "";
        char script[800];
        snprintf(script, sizeof(script),
                 "%s"
                 "v> CONNECT id=V1 v=%d clean\n"
                 "v< CONNACK 00\n"
                 "v> PUBLISH q1 #1 dt/V2/telemetry=x\n"
                 "%sv< CLOSE AUTH_ERROR\n"
                 "v> CONNECT id=V1 v=%d clean\n"
                 "v< CONNACK 00\n"
                 "v> SUBSCRIBE #1 #:1\n"
                 "%sv< CLOSE AUTH_ERROR\n",
                 closing, version, last_word, version, last_word);
        play(policy_shipped("vehicle"), script);
    }
}

static void denied_and_swallowed(void **state)
{
    play(policy_shipped("vehicle"), "opt denied_publish_closes_v311=0\n"
                                    "L> SUB q1 dt/#\n"
                                    "v> CONNECT id=V1 v=4 clean\n"
                                    "v< CONNACK 00\n"
                                    "v> PUBLISH q1 #1 dt/V2/telemetry=x\n"
                                    "v< PUBACK #1 00\n"
                                    "v> PUBLISH q1 #2 dt/V1/telemetry=y\n"
                                    "L< q1 dt/V1/telemetry=y\n"
                                    "v< PUBACK #2 00\n");
}

static void how_one_may_connect(void **state)
{
    play(
        policy_make("A Connect client/* if {\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":[\"LastWill\"]}}"),
        "a> CONNECT id=V1 clean will=w:x\n"
        "a< CONNACK 00\n"
        "b> CONNECT id=V2\n"
        "b< CONNACK 87\n"
        "b< CLOSE AUTH_ERROR\n"
        "c> CONNECT id=V3 clean\n"
        "c< CONNACK 00\n");
}
/* clang-format on */

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_vehicle_with_least_privilege),
                                       cmocka_unit_test(an_old_client_with_least_privilege),
                                       cmocka_unit_test(what_may_not_be_received_is_silence),
                                       cmocka_unit_test(denied_and_closed),
                                       cmocka_unit_test(denied_and_swallowed),
                                       cmocka_unit_test(how_one_may_connect)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
