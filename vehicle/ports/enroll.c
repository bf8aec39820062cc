/* enroll.c: the certificate broker (EST, RFC 7030) over libcurl: one request at a time, never blocking. */
#include "ports_internal.h"

#include <stdio.h>
#include <stdlib.h>

bool ports_enroll_open(struct ports_enroll *enroll, struct ports_token *token)
{
    memset(enroll, 0, sizeof(*enroll));
    enroll->token = token;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return false;
    enroll->multi = curl_multi_init();
    return enroll->multi != NULL;
}

static void give_up(struct ports_enroll *enroll)
{
    if (enroll->request) {
        curl_multi_remove_handle(enroll->multi, enroll->request);
        curl_easy_cleanup(enroll->request);
    }
    curl_slist_free_all(enroll->headers);
    free(enroll->body);
    enroll->request = NULL;
    enroll->headers = NULL;
    enroll->body = NULL;
}

/* An answer that does not fit is none: a short write ends the transfer. */
static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct ports_enroll *enroll = context;
    size_t length = size * count;
    if (length > sizeof(enroll->answer) - enroll->answer_length)
        return 0;
    memcpy(enroll->answer + enroll->answer_length, data, length);
    enroll->answer_length += length;
    return length;
}

static CURLcode on_tls(CURL *curl, void *tls, void *context)
{
    struct ports_enroll *enroll = context;
    if (ports_token_show_once(enroll->token, tls, enroll->in_token))
        return CURLE_OK;
    ports_token_why(enroll->token, enroll->error, sizeof(enroll->error));
    return CURLE_SSL_CERTPROBLEM;
}

static void set_tls(struct ports_enroll *enroll, const struct tcu_run_options *options, enum tcu_identity identity)
{
    CURL *curl = enroll->request;
    bool shown = identity == TCU_ATTESTATION && options->attestation_certificate;
    bool in_token = shown && enroll->token && !options->attestation_key;
    if (options->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    enroll->in_token = in_token ? options->attestation_certificate : NULL;
    if (enroll->token) {
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_tls);
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, enroll);
    }
    if (!shown || in_token)
        return;
    curl_easy_setopt(curl, CURLOPT_SSLCERT, options->attestation_certificate);
    curl_easy_setopt(curl, CURLOPT_SSLKEY, options->attestation_key);
}

static void set_body(struct ports_enroll *enroll, const struct tcu_http_request *request)
{
    char type[96];
    snprintf(type, sizeof(type), "Content-Type: %s", request->content_type);
    enroll->headers = curl_slist_append(NULL, type);
    enroll->headers = curl_slist_append(enroll->headers, "Content-Transfer-Encoding: base64");
    curl_easy_setopt(enroll->request, CURLOPT_HTTPHEADER, enroll->headers);
    curl_easy_setopt(enroll->request, CURLOPT_POSTFIELDS, enroll->body);
}

bool ports_enroll_begin(struct ports_enroll *enroll, const struct tcu_run_options *options,
                        const struct tcu_http_request *request)
{
    char url[PORTS_PATH_MAX];
    size_t capacity = (size_t)request->body.length * 2 + 16;
    give_up(enroll);
    enroll->answer_length = 0;
    enroll->error[0] = 0;
    snprintf(url, sizeof(url), "%s%s", options->certificate_broker, request->path);
    enroll->body = malloc(capacity);
    enroll->request = enroll->body ? curl_easy_init() : NULL;
    if (!enroll->request || !tcu_crypto_base64(request->body, enroll->body, capacity)) {
        give_up(enroll);
        return false;
    }
    curl_easy_setopt(enroll->request, CURLOPT_URL, url);
    curl_easy_setopt(enroll->request, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(enroll->request, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(enroll->request, CURLOPT_PROXY, "");
    curl_easy_setopt(enroll->request, CURLOPT_ERRORBUFFER, enroll->error);
    curl_easy_setopt(enroll->request, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(enroll->request, CURLOPT_WRITEDATA, enroll);
    set_tls(enroll, options, request->identity);
    set_body(enroll, request);
    return curl_multi_add_handle(enroll->multi, enroll->request) == CURLM_OK;
}

bool ports_enroll_step(struct ports_enroll *enroll, int *status)
{
    int running, left;
    if (!enroll->request)
        return false;
    curl_multi_perform(enroll->multi, &running);
    CURLMsg *message = curl_multi_info_read(enroll->multi, &left);
    if (!message || message->msg != CURLMSG_DONE)
        return false;
    long code = 0;
    if (message->data.result == CURLE_OK)
        curl_easy_getinfo(enroll->request, CURLINFO_RESPONSE_CODE, &code);
    else if (!enroll->error[0])
        snprintf(enroll->error, sizeof(enroll->error), "%s", curl_easy_strerror(message->data.result));
    *status = (int)code;
    give_up(enroll);
    return true;
}

void ports_enroll_close(struct ports_enroll *enroll)
{
    give_up(enroll);
    curl_multi_cleanup(enroll->multi);
    curl_global_cleanup();
}
