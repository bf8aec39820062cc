/* Sent to another server, restarted with and without its sessions, told to forget one (3.1.2.5, 4.11, 4.13). */
#include "tests/unit/broker_rig.h"

static const struct rig_case cases[] = {
    {"sent to another server, for now and for good", "a> CONNECT id=x expiry=100\n"
                                                     "a< CONNACK 00\n"
                                                     "a> SUBSCRIBE #1 t:1\n"
                                                     "a< SUBACK #1 01\n"
                                                     "redirect x other.example:8883\n"
                                                     "a< DISCONNECT 9C ref=other.example:8883\n"
                                                     "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
                                                     "b> CONNECT id=y\n"
                                                     "b< CONNACK 00\n"
                                                     "b> PUBLISH q1 #1 t=waits\n" /* the session stays */
                                                     "b< PUBACK #1 00\n"
                                                     "a> CONNECT id=x expiry=100\n"
                                                     "a< CONNACK 00 present\n"
                                                     "a< PUBLISH q1 #1 t=waits\n"
                                                     "redirect x new for_good\n"
                                                     "a< DISCONNECT 9D ref=new\n"
                                                     "a< CLOSE SERVER_INITIATED_DISCONNECT\n"},
    {"a reference too long for the client is left out, and no client of 3.1.1 hears of one",
     "a> CONNECT id=x max=20\n"
     "a< CONNACK 00\n"
     "redirect x a-long-name-of-a-server.example\n"
     "a< DISCONNECT 9C\n"
     "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
     "b> CONNECT id=y v=4 clean\n"
     "b< CONNACK 00\n"
     "redirect y new for_good\n"
     "b< CLOSE SERVER_INITIATED_DISCONNECT\n"},
    {"a will is for who is redirected, too", "W> SUB q1 w\n"
                                             "a> CONNECT id=x will=w:gone\n"
                                             "a< CONNACK 00\n"
                                             "redirect x new\n"
                                             "a< DISCONNECT 9C ref=new\n"
                                             "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
                                             "W< q0 w=gone\n"},
    {"sent on at the door", "refuse x 9C eu.example\n"
                            "a> CONNECT id=x\n"
                            "a< CONNACK 9C ref=eu.example\n"
                            "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
                            "refuse x 9D eu.example\n"
                            "a> CONNECT id=x max=12\n" /* no room */
                            "a< CONNACK 9D\n"
                            "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
                            "a> CONNECT id=x v=4 clean\n"
                            "a< CONNACK 03\n"
                            "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
                            "refuse x 9D\n"
                            "b> CONNECT id=x\n"
                            "b< CONNACK 9D\n"
                            "b< CLOSE SERVER_INITIATED_DISCONNECT\n"
                            "refuse x 87 eu.example\n" /* not with any other reason */
                            "c> CONNECT id=x\n"
                            "c< CONNACK 87\n"
                            "c< CLOSE AUTH_ERROR\n"},
    {"a restart keeps sessions, queues and what is retained",
     "S> SUB q1 up/+\n"
     "a> CONNECT id=x expiry=100\n"
     "a< CONNACK 00\n"
     "a> SUBSCRIBE #1 t:1\n"
     "a< SUBACK #1 01\n"
     "S> PUBLISH q1 t=first\n"
     "a< PUBLISH q1 #1 t=first\n" /* in flight: not acknowledged */
     "S> PUBLISH q1 retain r=kept\n"
     "S< reason 10\n"
     "b> CONNECT id=y\n"
     "b< CONNACK 00\n"
     "c> OPEN\n"
     "restart\n"
     "sessions 1\n" /* y's ended with its link */
     "retained 1\n"
     "S> PUBLISH q1 t=second\n"
     "a> CONNECT id=x expiry=100\n"
     "a< CONNACK 00 present\n"
     "a< PUBLISH q1 #1 dup t=first\n"
     "a< PUBLISH q1 #2 t=second\n"
     "b> CONNECT id=y expiry=100\n"
     "b< CONNACK 00\n"
     "b> PUBLISH q1 #7 up/y=hello\n" /* the service is still there */
     "b< PUBACK #7 00\n"
     "S< q1 up/y=hello\n"
     "c> CONNECT id=z\n"
     "c< CONNACK 00\n"
     "+101000\n"
     "sessions 3\n"},
    {"after a restart sessions expire as after a lost connection", "a> CONNECT id=x expiry=10 ka=600\n"
                                                                   "a< CONNACK 00\n"
                                                                   "restart\n"
                                                                   "+9000\n"
                                                                   "sessions 1\n"
                                                                   "+2000\n"
                                                                   "sessions 0\n"},
    {"a node that is lost takes sessions and retained messages along, but not the services",
     "S> SUB q1 up/+\n"
     "a> CONNECT id=x expiry=100\n"
     "a< CONNACK 00\n"
     "a> SUBSCRIBE #1 t:1 deep/#:1 $share/g/s:1\n"
     "a< SUBACK #1 01 01 01\n"
     "b> CONNECT id=y expiry=100\n"
     "b< CONNACK 00\n"
     "b> SUBSCRIBE #1 $share/g/s:1\n"
     "b< SUBACK #1 01\n"
     "b! lost\n"
     "S> PUBLISH q1 retain r/a/b=kept\n"
     "S< reason 10\n"
     "S> PUBLISH q1 retain r/a=kept\n"
     "S< reason 10\n"
     "S> PUBLISH q1 retain r=kept exp=50\n"
     "S< reason 10\n"
     "retained 3\n"
     "S> PUBLISH q1 s=shared\n"
     "a< PUBLISH q1 #1 s=shared\n"
     "restart lose\n"
     "sessions 0\n"
     "retained 0\n"
     "a> CONNECT id=x expiry=100\n"
     "a< CONNACK 00\n"
     "S> PUBLISH q1 t=nobody\n"
     "S< reason 10\n"
     "a> SUBSCRIBE #2 r/#:1\n"
     "a< SUBACK #2 01\n"
     "a> PUBLISH q1 #1 up/x=again\n"
     "a< PUBACK #1 00\n"
     "S< q1 up/x=again\n"
     "S> PUBLISH q1 retain r/a=anew\n"
     "a< PUBLISH q1 #1 r/a=anew\n"
     "retained 1\n"
     "+60000\n"
     "sessions 1\n"},
    {"wills of a restart: nobody is sent one over a link that is gone",
     "W> SUB q1 w/+\n"
     "a> CONNECT id=x expiry=100 will=w/x:gone wq=1 wr\n"
     "a< CONNACK 00\n"
     "a> SUBSCRIBE #1 w/+:1\n"
     "a< SUBACK #1 01\n"
     "b> CONNECT id=y expiry=100 will=w/y:gone wq=1\n"
     "b< CONNACK 00\n"
     "b> SUBSCRIBE #1 w/+:1\n"
     "b< SUBACK #1 01\n"
     "c> CONNECT id=z expiry=100 will=w/z:late wd=5\n"
     "c< CONNACK 00\n"
     "restart\n"
     "W< q1 w/x=gone\n"
     "W< q1 w/y=gone\n"
     "retained 1\n"
     "a> CONNECT id=x expiry=100\n" /* wills were queued for the session, his own too */
     "a< CONNACK 00 present\n"
     "a< PUBLISH q1 #1 w/x=gone\n"
     "a< PUBLISH q1 #2 w/y=gone\n"
     "a> PUBACK #1 & PUBACK #2\n"
     "+5000\n"
     "a< PUBLISH q0 w/z=late\n"
     "W< q0 w/z=late\n"},
    {"wills when sessions are lost: the delayed one comes at once, what they leave retained stays",
     "W> SUB q1 w/+\n"
     "W> PUBLISH q1 retain r=old\n"
     "W< reason 10\n"
     "a> CONNECT id=x expiry=100 will=w/x:late wd=50 wr wq=1\n"
     "a< CONNACK 00\n"
     "restart lose\n"
     "W< q1 w/x=late\n"
     "sessions 0\n"
     "retained 1\n"
     "a> CONNECT id=x\n"
     "a< CONNACK 00\n"
     "a> SUBSCRIBE #1 #:1\n"
     "a< SUBACK #1 01\n"
     "a< PUBLISH q1 #1 retain w/x=late\n"
     "+60000\n"},
    {"a session is forgotten, connected or not", "W> SUB q1 w\n"
                                                 "a> CONNECT id=x expiry=100 will=w:gone\n"
                                                 "a< CONNACK 00\n"
                                                 "a> SUBSCRIBE #1 t:1\n"
                                                 "a< SUBACK #1 01\n"
                                                 "forget x\n"
                                                 "a< DISCONNECT 98\n"
                                                 "a< CLOSE SERVER_INITIATED_DISCONNECT\n"
                                                 "W< q0 w=gone\n"
                                                 "sessions 0\n"
                                                 "a> CONNECT id=x expiry=100\n"
                                                 "a< CONNACK 00\n"
                                                 "a> SUBSCRIBE #1 t:1\n"
                                                 "a< SUBACK #1 01\n"
                                                 "a! lost\n"
                                                 "W> PUBLISH q1 t=queued\n"
                                                 "sessions 1\n"
                                                 "forget x\n"
                                                 "sessions 0\n"
                                                 "a> CONNECT id=x expiry=100\n"
                                                 "a< CONNACK 00\n"
                                                 "b> CONNECT id=y v=4 clean\n"
                                                 "b< CONNACK 00\n"
                                                 "forget y\n"
                                                 "b< CLOSE SERVER_INITIATED_DISCONNECT\n"
                                                 "sessions 1\n"},
};

static void conversations(void **state)
{
    rig_run_cases(cases, sizeof(cases) / sizeof(*cases));
}

static void each_allocation_fails(void **state)
{
    rig_sweep_cases(cases, sizeof(cases) / sizeof(*cases));
}

static void nobody_to_speak_of(void **state)
{
    struct rig *rig = rig_new();
    struct span x = SPAN_LITERAL("x");
    rig_start(rig);
    assert_false(cloud_broker_redirect(rig->broker, 0, x, SPAN_LITERAL("new"), false));
    assert_false(cloud_broker_forget(rig->broker, 0, x));
    cloud_broker_restart(rig->broker, 0, false); /* empty */
    rig_play(rig, "a> CONNECT id=x expiry=9\n"
                  "a< CONNACK 00\n"
                  "a! lost\n");
    assert_false(cloud_broker_redirect(rig->broker, 0, x, SPAN_LITERAL("new"), false));
    assert_true(cloud_broker_forget(rig->broker, 0, x));
    rig_end(rig);
    free(rig);
}

/* Everybody is told of, once, and none is connected any more by then. */
static void told_late(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                      enum cloud_close_reason reason)
{
    struct rig *rig = context;
    assert_int_equal(reason, CLOUD_CLOSED_SERVER);
    assert_ptr_equal(peer, &rig->link[client_id.data[0] - 'a'].peer);
    for (char name = 'a'; name <= 'z'; name++)
        assert_false(cloud_broker_is_connected(rig->broker, span_of(&name, 1)));
    rig_log(rig, "%c", client_id.data[0]);
}

static void hooks_hear_of_a_restart(void **state)
{
    for (int keep = 0; keep < 2; keep++) {
        struct rig *rig = rig_new();
        char seen[RIG_LINKS + 1];
        rig->ops.disconnected = told_late;
        rig_start(rig);
        for (char name = 'a'; name <= 'z'; name++) {
            char script[64];
            snprintf(script, sizeof(script), "%c> CONNECT id=%c expiry=%d\n%c< CONNACK 00\n", name, name,
                     name % 2 ? 100 : 0, name);
            rig_play(rig, script);
        }
        rig->log_length = 0;
        rig_restart(rig, keep);
        assert_int_equal(rig->log_length, RIG_LINKS);
        memset(seen, 0, sizeof(seen));
        for (size_t i = 0; i < rig->log_length; i++)
            seen[rig->log[i] - 'a']++;
        for (int i = 0; i < RIG_LINKS; i++)
            assert_int_equal(seen[i], 1);
        rig_play(rig, keep ? "sessions 13\n" : "sessions 0\n");
        rig_end(rig);
        free(rig);
    }
}

/* A broker that has lost its sessions is in the state of one that never had any. */
static void lost_is_lost(void **state)
{
    static const char services[] = "S> SUB q1 up/#\n"
                                   "T> SUB q0 $share/g/dt/+\n";
    struct rig *rig = rig_new();
    rig_start(rig);
    rig_play(rig, services);
    uint64_t fresh = cloud_broker_state_hash(rig->broker);
    rig_play(rig, "a> CONNECT id=x expiry=100\n"
                  "a< CONNACK 00\n"
                  "a> SUBSCRIBE #1 cmd/x/request:1 a/+:2 $share/g/dt/+:1\n"
                  "a< SUBACK #1 01 02 01\n"
                  "a> PUBLISH q2 #5 some=thing\n"
                  "a< PUBREC #5 10\n"
                  "b> CONNECT id=y\n"
                  "b< CONNACK 00\n"
                  "S> PUBLISH q1 retain a/b/c=kept\n"
                  "S< reason 10\n"
                  "S> PUBLISH q2 a/b=sent\n"
                  "a< PUBLISH q2 #1 a/b=sent\n"
                  "a! lost\n"
                  "S> PUBLISH q1 cmd/x/request=queued\n");
    assert_int_not_equal(cloud_broker_state_hash(rig->broker), fresh);
    rig_restart(rig, false);
    assert_int_equal(cloud_broker_state_hash(rig->broker), fresh);
    struct cloud_broker_counts counts;
    cloud_broker_count(rig->broker, &counts);
    assert_int_equal(
        counts.connections + counts.sessions + counts.retained + counts.queued_messages + counts.queued_bytes, 0);
    assert_int_equal(counts.subscriptions, 2);
    rig_end(rig);
    free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conversations), cmocka_unit_test(each_allocation_fails),
                                       cmocka_unit_test(nobody_to_speak_of), cmocka_unit_test(hooks_hear_of_a_restart),
                                       cmocka_unit_test(lost_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
