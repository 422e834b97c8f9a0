// Reads the two facts that the kernel keeps with a credential out of its certificate. What is read came from xosd, which verified it; still, every
// length is checked, for this runs as root.
#include "credential.h"
#include <string.h>
#include <time.h>

enum { DER_MAX = 12288, INTEGER = 0x02, SEQUENCE = 0x30, VERSION = 0xa0, UTC_TIME = 0x17, GENERALIZED_TIME = 0x18, WAIT_SECONDS = 600 };

struct der {
  const uint8_t *at, *end;
};

/// Takes the next element; its content goes to `content`. Returns its tag, or -1.
static int take(struct der *from, struct der *content) {
  if (from->end - from->at < 2) return -1;
  int tag = from->at[0];
  size_t length = from->at[1];
  const uint8_t *at = from->at + 2;
  if (length >= 0x80) {
    size_t bytes = length & 0x7f;
    if (bytes < 1 || bytes > 2 || (size_t)(from->end - at) < bytes) return -1;
    for (length = 0; bytes > 0; bytes--) length = length << 8 | *at++;
  }
  if ((size_t)(from->end - at) < length) return -1;
  *content = (struct der){at, at + length};
  from->at = at + length;
  return tag;
}

/// Base64 between the first pair of lines with dashes. Returns the number of bytes, 0 when it is malformed or does not fit.
static size_t decode(const char *pem, uint8_t out[DER_MAX]) {
  static const char begin[] = "-----BEGIN CERTIFICATE-----", letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = strstr(pem, begin);
  if (!at) return 0;
  uint32_t bits = 0;
  size_t size = 0;
  int have = 0;
  for (at += sizeof begin - 1; *at && *at != '-' && *at != '='; at++) {
    if (strchr("\r\n \t", *at)) continue;
    const char *letter = strchr(letters, *at);
    if (!letter || size == DER_MAX) return 0;
    bits = bits << 6 | (uint32_t)(letter - letters);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out[size++] = (uint8_t)(bits >> have);
  }
  return *at ? size : 0;
}

/// UTCTime YYMMDDHHMMSSZ or GeneralizedTime YYYYMMDDHHMMSSZ, RFC 5280 4.1.2.5. Returns -1 when it is neither.
static int64_t time_of(int tag, struct der text) {
  char digits[15] = "20";
  size_t length = (size_t)(text.end - text.at), skip = tag == UTC_TIME ? 2 : 0;
  if ((tag != UTC_TIME && tag != GENERALIZED_TIME) || length != 15 - skip || text.at[length - 1] != 'Z') return -1;
  memcpy(digits + skip, text.at, length - 1);
  digits[14] = '\0';
  if (strspn(digits, "0123456789") != 14) return -1;
  if (tag == UTC_TIME && digits[2] >= '5') memcpy(digits, "19", 2);
  struct tm tm = {0};
  const char *rest = strptime(digits, "%Y%m%d%H%M%S", &tm);
  return rest && !*rest ? (int64_t)timegm(&tm) : -1;
}

bool xos_credential_about(const char *pem, uint8_t serial[XOS_CRED_SERIAL_MAX], size_t *serial_size, int64_t *expires) {
  uint8_t der[DER_MAX];
  size_t size = decode(pem, der);
  struct der whole = {der, der + size}, certificate, tbs, number, skipped, validity, moment;
  if (size == 0 || take(&whole, &certificate) != SEQUENCE || take(&certificate, &tbs) != SEQUENCE) return false;
  int tag = take(&tbs, &number);
  if (tag == VERSION) tag = take(&tbs, &number);
  if (tag != INTEGER) return false;
  while (number.at < number.end && *number.at == 0) number.at++;  // the sign of a positive number
  *serial_size = (size_t)(number.end - number.at);
  if (*serial_size < 1 || *serial_size > XOS_CRED_SERIAL_MAX) return false;
  memcpy(serial, number.at, *serial_size);
  if (take(&tbs, &skipped) != SEQUENCE || take(&tbs, &skipped) != SEQUENCE || take(&tbs, &validity) != SEQUENCE) return false;
  if (take(&validity, &skipped) < 0) return false;
  tag = take(&validity, &moment);
  *expires = time_of(tag, moment);
  return *expires > 0;
}

size_t xos_credential_payload(const char *pem, uint32_t uid, int64_t now, uint8_t payload[XOS_CREDENTIAL_PAYLOAD_MAX]) {
  struct xos_cred_payload head = {.magic = XOS_CRED_MAGIC, .version = XOS_CRED_VERSION, .expires = now + WAIT_SECONDS};
  size_t size = pem ? strlen(pem) : 0, serial_size;
  int64_t expires;
  if (sizeof head + size > XOS_CREDENTIAL_PAYLOAD_MAX) return 0;
  if (pem) {
    if (!xos_credential_about(pem, head.serial, &serial_size, &expires)) return 0;
    head.expires = expires;
    head.serial_size = (uint16_t)serial_size;
    head.uid = uid;
    head.size = (uint32_t)size;
  }
  memcpy(payload, &head, sizeof head);
  if (pem) memcpy(payload + sizeof head, pem, size);
  return sizeof head + size;
}
