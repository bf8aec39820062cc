/* SCRAM-SHA-256 as a method of authentication: who is let in, who is not; over one link only ever one and the same. */
#include "cloud/scram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <gsasl.h>
#include <string.h>

static struct cloud_scram *users(void)
{
    struct cloud_scram *scram = cloud_scram_create();
    assert_non_null(scram);
    assert_null(cloud_scram_add(scram, "bob", "builder"));
    assert_null(cloud_scram_add(scram, "alice", "wonderland"));
    assert_null(cloud_scram_add(scram, "\xC3\xA9va", "I\xC2\xADX")); /* a soft hyphen counts for nothing (RFC 4013) */
    return scram;
}

static struct cloud_authentication step_of(struct cloud_scram *scram, struct cloud_scram_exchange **exchange,
                                           enum cloud_authentication_step step, struct span data)
{
    return cloud_scram_step(scram, exchange, step, SPAN_LITERAL(CLOUD_SCRAM_METHOD), data);
}

/* An exchange of a client's; returns what the server says to the last step. `asked`: how many times it has asked. */
static struct cloud_authentication converse(struct cloud_scram *scram, struct cloud_scram_exchange **exchange,
                                            enum cloud_authentication_step step, const char *user, const char *password,
                                            int *asked)
{
    Gsasl *gsasl;
    Gsasl_session *client;
    char *said = NULL;
    size_t length = 0;
    assert_int_equal(gsasl_init(&gsasl), GSASL_OK);
    assert_int_equal(gsasl_client_start(gsasl, CLOUD_SCRAM_METHOD, &client), GSASL_OK);
    gsasl_property_set(client, GSASL_AUTHID, user);
    gsasl_property_set(client, GSASL_PASSWORD, password);
    assert_int_equal(gsasl_step(client, NULL, 0, &said, &length), GSASL_NEEDS_MORE);
    struct cloud_authentication answer = step_of(scram, exchange, step, span_of(said, length));
    for (*asked = 0; answer.reason == MQ5_CONTINUE_AUTHENTICATION; ++*asked) {
        gsasl_free(said);
        assert_int_equal(gsasl_step(client, (const char *)answer.data.data, answer.data.length, &said, &length),
                         GSASL_NEEDS_MORE);
        answer = step_of(scram, exchange, CLOUD_AUTHENTICATION_GOES_ON, span_of(said, length));
    }
    gsasl_free(said);
    if (answer.reason == MQ5_SUCCESS) { /* the server knows it, too */
        assert_int_equal(gsasl_step(client, (const char *)answer.data.data, answer.data.length, &said, &length),
                         GSASL_OK);
        gsasl_free(said);
    }
    gsasl_finish(client);
    gsasl_done(gsasl);
    return answer;
}

static void end(struct cloud_scram *scram, struct cloud_scram_exchange **exchange)
{
    step_of(scram, exchange, CLOUD_AUTHENTICATION_OVER, (struct span){NULL, 0});
    assert_null(*exchange);
    cloud_scram_destroy(scram);
}

static void who_knows_the_password(void **state)
{
    static const struct {
        const char *user, *password;
        uint8_t reason;
    } rows[] = {{"alice", "wonderland", MQ5_SUCCESS},     {"alice", "wonderland", MQ5_SUCCESS},
                {"alice", "builder", MQ5_NOT_AUTHORIZED}, {"nobody", "wonderland", MQ5_NOT_AUTHORIZED},
                {"bob", "builder", MQ5_SUCCESS},          {"\xC3\xA9va", "IX", MQ5_SUCCESS}};
    struct cloud_scram *scram = users();
    struct cloud_scram_exchange *exchange = NULL;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int asked;
        struct cloud_authentication answer =
            converse(scram, &exchange, CLOUD_AUTHENTICATION_BEGINS, rows[i].user, rows[i].password, &asked);
        assert_int_equal(answer.reason, rows[i].reason);
        assert_int_equal(asked, 1);
        step_of(scram, &exchange, CLOUD_AUTHENTICATION_OVER, (struct span){NULL, 0});
    }
    end(scram, &exchange);
}

static void again_as_the_same(void **state)
{
    struct cloud_scram *scram = users();
    struct cloud_scram_exchange *exchange = NULL;
    int asked;
    converse(scram, &exchange, CLOUD_AUTHENTICATION_BEGINS, "bob", "builder", &asked);
    assert_int_equal(converse(scram, &exchange, CLOUD_AUTHENTICATION_AGAIN, "bob", "builder", &asked).reason,
                     MQ5_SUCCESS);
    assert_int_equal(converse(scram, &exchange, CLOUD_AUTHENTICATION_AGAIN, "bob", "wonderland", &asked).reason,
                     MQ5_NOT_AUTHORIZED);
    assert_int_equal(converse(scram, &exchange, CLOUD_AUTHENTICATION_AGAIN, "alice", "wonderland", &asked).reason,
                     MQ5_NOT_AUTHORIZED);
    end(scram, &exchange);
}

static void what_is_no_message(void **state)
{
    static const char *const words[] = {"mc5-wrong", "n,,", "n,,n=alice", "n,,n=,r=x", ""};
    struct cloud_scram *scram = users();
    struct cloud_scram_exchange *exchange = NULL;
    struct cloud_authentication answer;
    for (size_t i = 0; i + 1 < sizeof(words) / sizeof(words[0]); i++) {
        answer = step_of(scram, &exchange, CLOUD_AUTHENTICATION_BEGINS, span_text(words[i]));
        assert_int_equal(answer.reason, MQ5_NOT_AUTHORIZED);
    }
    /* CONNECT without data: the first message comes with AUTH. */
    answer = step_of(scram, &exchange, CLOUD_AUTHENTICATION_BEGINS, (struct span){NULL, 0});
    assert_int_equal(answer.reason, MQ5_CONTINUE_AUTHENTICATION);
    assert_null(answer.data.data);
    answer = step_of(scram, &exchange, CLOUD_AUTHENTICATION_GOES_ON, SPAN_LITERAL("n,,n=alice,r=abc"));
    assert_int_equal(answer.reason, MQ5_CONTINUE_AUTHENTICATION);
    assert_true(answer.data.length > 10 && memcmp(answer.data.data, "r=abc", 5) == 0);
    answer = step_of(scram, &exchange, CLOUD_AUTHENTICATION_GOES_ON, SPAN_LITERAL("c=biws,r=abc,p=AAAA"));
    assert_int_equal(answer.reason, MQ5_NOT_AUTHORIZED);
    answer = cloud_scram_step(scram, &exchange, CLOUD_AUTHENTICATION_BEGINS, SPAN_LITERAL("SCRAM-SHA-1"),
                              SPAN_LITERAL("n,,n=alice,r=abc"));
    assert_int_equal(answer.reason, MQ5_BAD_AUTHENTICATION_METHOD);
    end(scram, &exchange);
}

static void what_is_no_user(void **state)
{
    struct cloud_scram *scram = cloud_scram_create();
    assert_non_null(cloud_scram_add(scram, "", "x"));
    assert_non_null(cloud_scram_add(scram, "x", ""));
    assert_non_null(cloud_scram_add(scram, "\xFF", "x"));
    assert_non_null(cloud_scram_add(scram, "x", "a\x07"));
    cloud_scram_destroy(scram);
    cloud_scram_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_knows_the_password), cmocka_unit_test(again_as_the_same),
                                       cmocka_unit_test(what_is_no_message), cmocka_unit_test(what_is_no_user)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
