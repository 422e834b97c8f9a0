// The reader of certificates takes real ones, and nothing that was cut or changed makes it read past them (run with sanitizers).
#include "../pam_xos/credential.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "check.h"

/// A certificate that openssl makes, its serial number, and when it ends.
static char *fresh(char *pem, size_t size) {
  FILE *openssl = popen("openssl req -x509 -newkey ed25519 -nodes -keyout /dev/null -subj /CN=alice -set_serial 0x00fe1234567890 -days 1 2>/dev/null", "r");
  size_t length = openssl ? fread(pem, 1, size - 1, openssl) : 0;
  pem[length] = '\0';
  if (openssl) pclose(openssl);
  return pem;
}

int main(void) {
  char pem[4096], changed[4096];
  static uint8_t payload[XOS_CREDENTIAL_PAYLOAD_MAX];
  uint8_t serial[XOS_CRED_SERIAL_MAX];
  size_t serial_size;
  int64_t expires, now = (int64_t)time(NULL);
  fresh(pem, sizeof pem);
  CHECK(xos_credential_about(pem, serial, &serial_size, &expires));
  CHECK(serial_size == 6 && memcmp(serial, "\xfe\x12\x34\x56\x78\x90", 6) == 0);
  CHECK(expires > now + 86000 && expires <= now + 86400 + 60);

  struct xos_cred_payload head;
  size_t size = xos_credential_payload(pem, 7, now, payload);
  memcpy(&head, payload, sizeof head);
  CHECK(size == sizeof head + strlen(pem) && head.size == strlen(pem) && head.uid == 7 && head.serial_size == 6 && head.expires == expires);
  CHECK(memcmp(payload + sizeof head, pem, strlen(pem)) == 0);
  size = xos_credential_payload(NULL, 7, now, payload);
  memcpy(&head, payload, sizeof head);
  CHECK(size == sizeof head && head.size == 0 && head.uid == 0 && head.serial_size == 0 && head.expires > now);

  CHECK(!xos_credential_about("", serial, &serial_size, &expires));
  CHECK(!xos_credential_about("-----BEGIN CERTIFICATE-----", serial, &serial_size, &expires));
  CHECK(!xos_credential_about("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----", serial, &serial_size, &expires));
  for (size_t cut = 0; cut < strlen(pem); cut++) {
    memcpy(changed, pem, cut);
    strcpy(changed + cut, "-----END CERTIFICATE-----\n");
    xos_credential_about(changed, serial, &serial_size, &expires);
  }
  srandom(1);
  for (int round = 0; round < 200000; round++) {
    strcpy(changed, pem);
    for (int flips = 1 + (int)(random() % 3); flips > 0; flips--) changed[28 + random() % ((long)strlen(pem) - 28)] = "AQgwBIMDEz09+/"[random() % 14];
    if (xos_credential_about(changed, serial, &serial_size, &expires)) CHECK(serial_size >= 1 && serial_size <= XOS_CRED_SERIAL_MAX && expires > 0);
  }
  return finish("credential");
}
