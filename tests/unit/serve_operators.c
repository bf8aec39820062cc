/* Who operates, and what the desk keeps: keys and lists in the PKI's directory, vehicles and audit in the registry's database, a desk without a network. */
#include "cloud-mock/serve/serve_internal.h"
#include "cloud/lifecycle.h"

#include "files_rig.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#define VIN "1M8GDM9AXKP042788"

static char error[256];

static void path_of(const char *file, char path[128])
{
    snprintf(path, 128, "%s/%s", directory, file);
}

static unsigned mode_of(const char *file)
{
    char path[128];
    struct stat status;
    path_of(file, path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

static void write_file(const char *file, const char *text, size_t length)
{
    char path[128];
    path_of(file, path);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, length, out), length);
    fclose(out);
    chmod(path, 0600);
}

static void key_is_made_once(void **state)
{
    uint8_t first[32], second[32], zero[32] = {0};
    char path[128];
    path_of("vin.key", path);
    assert_true(cloud_serve_vin_key(directory, first, error, sizeof error));
    assert_int_equal(mode_of("vin.key"), 0600);
    assert_memory_not_equal(first, zero, 32);
    assert_true(cloud_serve_vin_key(directory, second, error, sizeof error));
    assert_memory_equal(first, second, 32);
    chmod(path, 0640);
    assert_false(cloud_serve_vin_key(directory, second, error, sizeof error));
    assert_non_null(strstr(error, "chmod 600"));
    write_file("vin.key", "short", 5);
    assert_false(cloud_serve_vin_key(directory, second, error, sizeof error));
    assert_non_null(strstr(error, "32 bytes"));
    unlink(path);
    assert_false(cloud_serve_vin_key("/nowhere/at/all", second, error, sizeof error));
}

/* Lines of the list that name this operator. */
static int listed(const char *name)
{
    char path[128], line[256];
    int count = 0;
    path_of("operators", path);
    FILE *list = fopen(path, "r");
    while (list && fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        count += strlen(line) > 65 && strcmp(line + 65, name) == 0;
    }
    if (list)
        fclose(list);
    return count;
}

static X509 *certificate(const char *file)
{
    char path[128];
    path_of(file, path);
    FILE *in = fopen(path, "r");
    X509 *x509 = in ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    if (in)
        fclose(in);
    assert_non_null(x509);
    return x509;
}

static void operators_are_listed_once(void **state)
{
    assert_true(cloud_serve_make_operator(directory, "alice", 1700000000, error, sizeof error));
    assert_true(cloud_serve_make_operator(directory, "bob", 1700000000, error, sizeof error));
    assert_true(cloud_serve_make_operator(directory, "alice", 1700000000, error, sizeof error));
    assert_int_equal(listed("alice"), 1);
    assert_int_equal(listed("bob"), 1);
    assert_int_equal(mode_of("alice.key"), 0600);
    assert_int_equal(mode_of("operator-ca.key"), 0600);
    X509 *ca = operators_anchor(directory), *alice = certificate("alice.crt");
    assert_int_equal(X509_verify(alice, X509_get0_pubkey(ca)), 1);
    assert_int_equal(X509_check_purpose(alice, X509_PURPOSE_SSL_CLIENT, 0), 1);
    assert_int_equal(X509_check_ca(alice), 0);
    X509_free(alice);
    X509_free(ca);
    static const char *const bad[] = {"", "a/b", "a b", "a\nb", "12345678901234567890123456789012345678901"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(cloud_serve_make_operator(directory, bad[i], 1700000000, error, sizeof error));
    char name[64];
    assert_false(operators_find(directory, NULL, name)); /* nobody has shown anything */
}

/* ---- a desk without a network ----------------------------------------------------------------------------------------- */

struct rig {
    struct cloud_serve_options options;
    struct cloud_lifecycle_options lifecycle;
    struct cloud_conversion_client client;
    struct cloud_registry *registry;
    struct cloud_pki *pki;
    struct cloud cloud;
    struct desk *desk;
    uint8_t key[32];
    char database[88];
    int64_t now_us;
};

static void no_bytes(void *door, void *link, const uint8_t *data, size_t length)
{
}

static void no_link(void *door, void *link, enum cloud_close_reason reason)
{
}

/* On a registry of a file that may be there already. */
static void open_rig(struct rig *rig)
{
    snprintf(rig->database, sizeof rig->database, "%s/registry.sqlite", directory);
    cloud_serve_defaults(&rig->options);
    rig->client = (struct cloud_conversion_client){
        .name = "shop", .secret = "secret", .tenant = "acme", .per_minute = 2, .to_reference = true, .to_vin = true};
    rig->options.registry_path = rig->database;
    rig->options.operators = true;
    rig->options.conversion_clients = &rig->client;
    rig->options.conversion_client_count = 1;
    rig->lifecycle = (struct cloud_lifecycle_options){.certificate_lifetime_s = 86400, .seed = 1, .vin_key = rig->key};
    rig->options.cloud.lifecycle = &rig->lifecycle;
    rig->registry = cloud_registry_open(rig->database, error, sizeof error);
    rig->pki = cloud_pki_modelled(7);
    rig->now_us = US_PER_S;
    assert_non_null(rig->registry);
    assert_true(cloud_create(&rig->cloud, &rig->options.cloud, rig->pki, rig->registry, no_bytes, no_link, NULL));
    rig->desk = desk_open(&rig->options, &rig->cloud, 0, error, sizeof error);
}

static void close_rig(struct rig *rig)
{
    desk_close(rig->desk);
    cloud_destroy(&rig->cloud);
    cloud_registry_close(rig->registry);
    cloud_pki_close(rig->pki);
}

/* The status; what was said is in `text`. */
static int ask(struct rig *rig, const char *method, const char *path, const char *body, const char *operator_name,
               const char *token, char *text, size_t capacity)
{
    struct desk_answer answer = {0};
    struct desk_request request = {.method = method,
                                   .path = path,
                                   .authorisation = token,
                                   .body = span_text(body),
                                   .has_certificate = operator_name != NULL,
                                   .operator_name = operator_name && *operator_name ? operator_name : NULL};
    desk_handle(rig->desk, rig->now_us, &request, &answer);
    snprintf(text, capacity, "%s", answer.text ? answer.text : "");
    if (answer.status == 429)
        assert_true(answer.retry_after_s > 0);
    if (answer.status == 405)
        assert_non_null(answer.allow);
    int status = answer.status;
    desk_release(&answer);
    return status;
}

static void reference_in(const char *text, char reference[64])
{
    assert_int_equal(sscanf(text, "{\"referenceId\":\"%63[^\"]", reference), 1);
}

static void vehicles_outlive_the_cloud(void **state)
{
    struct rig rig = {.key = {1}};
    char text[4096], again[4096], reference[64], path[128];
    open_rig(&rig);
    assert_non_null(rig.desk);
    assert_int_equal(ask(&rig, "POST", "/v1/vehicles", "{\"vin\":\"" VIN "\",\"device\":\"d1\",\"tenant\":\"acme\"}",
                         "alice", NULL, text, sizeof text),
                     201);
    assert_null(strstr(text, VIN));
    reference_in(text, reference);
    snprintf(path, sizeof path, "/v1/vehicles/%s", reference);
    assert_int_equal(ask(&rig, "GET", path, "", "alice", NULL, text, sizeof text), 200);
    close_rig(&rig);

    open_rig(&rig);
    assert_non_null(rig.desk);
    assert_int_equal(ask(&rig, "GET", path, "", "alice", NULL, again, sizeof again), 200);
    assert_string_equal(text, again);
    close_rig(&rig);

    rig.key[0] = 2; /* another key */
    open_rig(&rig);
    assert_null(rig.desk);
    assert_non_null(strstr(error, "another key"));
    close_rig(&rig);
    assert_int_equal(query_number(rig.database, "SELECT count(*) FROM vehicle"), 1); /* it has not hurt the rows */
    remove_database(rig.database);
}

static void who_is_asked_first(void **state)
{
    struct rig rig = {.key = {1}};
    char text[4096];
    open_rig(&rig);
    assert_int_equal(ask(&rig, "GET", "/v1/verify", "", NULL, NULL, text, sizeof text), 401);
    assert_int_equal(ask(&rig, "GET", "/v1/verify", "", "", NULL, text, sizeof text), 403);
    assert_int_equal(ask(&rig, "GET", "/v1/nothing", "", "", NULL, text, sizeof text), 403);
    assert_int_equal(ask(&rig, "GET", "/v1/verify", "", "alice", NULL, text, sizeof text), 200);
    assert_string_equal(text, "{\"count\":0,\"flaws\":[]}");
    assert_int_equal(ask(&rig, "PUT", "/v1/verify", "", "alice", NULL, text, sizeof text), 405);
    assert_int_equal(ask(&rig, "POST", "/v1/audit", "{\"x\":\"y\"}", "alice", NULL, text, sizeof text), 400);
    assert_int_equal(ask(&rig, "GET", "/v1/vehicles/", "", "alice", NULL, text, sizeof text), 404);
    assert_int_equal(ask(&rig, "POST", "/v1/vehicles//rotate", "", "alice", NULL, text, sizeof text), 404);
    assert_int_equal(ask(&rig, "POST", "/v1/vehicles/a/b/rotate", "", "alice", NULL, text, sizeof text), 404);
    close_rig(&rig);
    remove_database(rig.database);
}

/* What cannot be written down is not answered. */
static void conversions_are_noted_or_refused(void **state)
{
    static const char body[] = "{\"vin\":\"" VIN "\"}", token[] = "Bearer shop.secret", path[] = "/v1/reference";
    struct rig rig = {.key = {1}};
    char text[4096];
    open_rig(&rig);
    assert_int_equal(ask(&rig, "POST", "/v1/vehicles", "{\"vin\":\"" VIN "\",\"tenant\":\"acme\"}", "alice", NULL, text,
                         sizeof text),
                     201);
    assert_int_equal(ask(&rig, "POST", path, body, NULL, token, text, sizeof text), 200);
    assert_int_equal(ask(&rig, "POST", path, body, NULL, token, text, sizeof text), 200);
    assert_int_equal(ask(&rig, "POST", path, body, NULL, token, text, sizeof text), 429);
    assert_int_equal(ask(&rig, "POST", path, body, NULL, "Bearer shop.guess", text, sizeof text), 401);
    assert_int_equal(ask(&rig, "POST", path, body, "alice", NULL, text, sizeof text), 401);
    assert_int_equal(query_number(rig.database, "SELECT count(*) FROM conversion_audit"), 5);
    assert_int_equal(query_number(rig.database, "SELECT count(*) FROM conversion_audit WHERE status = 429"), 1);
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(rig.database, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "DROP TABLE conversion_audit", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
    rig.now_us += US_PER_MIN;
    assert_int_equal(ask(&rig, "POST", path, body, NULL, token, text, sizeof text), 500);
    assert_null(strstr(text, "referenceId"));
    close_rig(&rig);
    remove_database(rig.database);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_is_made_once),
        cmocka_unit_test(operators_are_listed_once),
        cmocka_unit_test(vehicles_outlive_the_cloud),
        cmocka_unit_test(who_is_asked_first),
        cmocka_unit_test(conversions_are_noted_or_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
