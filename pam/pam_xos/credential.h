// The credential as the payload of a key of type xos_cred (kmod/xos_cred/uapi/xos_cred.h).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../kmod/xos_cred/uapi/xos_cred.h"

/// The largest payload that is made of a credential.
enum { XOS_CREDENTIAL_PAYLOAD_MAX = sizeof(struct xos_cred_payload) + 16384 };

/// Serial number and end of validity of a certificate in PEM (RFC 5280). Returns false when it is not one; nothing of it is verified here.
bool xos_credential_about(const char *pem, uint8_t serial[XOS_CRED_SERIAL_MAX], size_t *serial_size, int64_t *expires);

/// Writes the payload for `pem` of the user `uid`, or, with NULL, that of a place whose credential is still to come. Returns its size, 0 when there is none to make.
size_t xos_credential_payload(const char *pem, uint32_t uid, int64_t now, uint8_t payload[XOS_CREDENTIAL_PAYLOAD_MAX]);
