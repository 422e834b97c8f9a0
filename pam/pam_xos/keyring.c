// The session keyring of a login, by the bare system calls (libkeyutils is not linked). Source: keyrings(7), keyctl(2), add_key(2).
//
// The keys belong to root and show themselves to possessors only, that is, to processes of this session: another session of the same user
// can neither read nor find nor link them. They are root's, not the user's, because a user may own 200 keys of 20,000 bytes together
// (/proc/sys/kernel/keys), which some fifteen credentials fill, and because xosd (root) has to renew the credential from outside.
#include <errno.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "credential.h"
#include "module.h"

enum { VIEW = 1, READ = 2, WRITE = 4, SEARCH = 8, ALL = 0x3f };
#define POSSESSOR(bits) ((uint32_t)(bits) << 24)
#define OWNER(bits) ((uint32_t)(bits) << 16)

static long keyctl(int operation, long a, long b, long c) { return syscall(SYS_keyctl, operation, a, b, c, 0L); }

static int32_t add(const char *type, const char *description, const void *payload, size_t size, int32_t ring, uint32_t permissions) {
  long key = syscall(SYS_add_key, type, description, payload, size, (long)ring);
  if (key < 0) return -errno;
  if (keyctl(KEYCTL_SETPERM, key, (long)permissions, 0) < 0) {
    int32_t error = -errno;
    keyctl(KEYCTL_INVALIDATE, key, 0, 0);
    return error;
  }
  return (int32_t)key;
}

/// A new ring belongs to the real user id, which is the caller's and not root when `su` runs us.
static long join_as_root(void) {
  uid_t real, effective, saved;
  getresuid(&real, &effective, &saved);
  // The bare call: glibc's would change every thread of the program that loaded us.
  if (real != 0) syscall(SYS_setresuid, 0, 0, 0);
  long ring = keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0);
  int error = errno;
  if (ring >= 0) keyctl(KEYCTL_SETPERM, ring, (long)POSSESSOR(ALL), 0);  // not even the owner may link it from another session
  if (real != 0) syscall(SYS_setresuid, real, effective, saved);
  errno = error;
  return ring;
}

int xos_keyring_join(struct xos_keyring *keyring) {
  *keyring = (struct xos_keyring){0};
  long ring = join_as_root();
  if (ring < 0) return -errno;
  keyring->ring = (int32_t)ring;
  uint8_t payload[XOS_CREDENTIAL_PAYLOAD_MAX];
  uint32_t permissions = POSSESSOR(VIEW | READ | SEARCH) | OWNER(VIEW | WRITE);
  size_t size = xos_credential_payload(NULL, 0, (int64_t)time(NULL), payload);
  int32_t key = add(XOS_CRED_TYPE, "xos:credential", payload, size, keyring->ring, permissions);
  keyring->guarded = key >= 0;
  // Where the module is not loaded (ENODEV), or a container's root may not: an ordinary key.
  if (key < 0) key = add("user", "xos:credential", "-", 1, keyring->ring, permissions);
  if (key < 0) {
    xos_keyring_end(keyring);
    return key;
  }
  keyring->credential = key;
  return 0;
}

/// The credential into the key that waits for it. Returns 0 or -errno.
static int put_credential(const struct xos_keyring *keyring, const char *credential, uid_t uid) {
  uint8_t payload[XOS_CREDENTIAL_PAYLOAD_MAX];
  const void *data = credential;
  size_t size = strlen(credential);
  if (keyring->guarded) {
    data = payload;
    size = xos_credential_payload(credential, uid, 0, payload);
    if (size == 0) return -EBADMSG;
  }
  long done = keyctl(KEYCTL_UPDATE, keyring->credential, (long)data, (long)size);
  int error = errno;
  explicit_bzero(payload, sizeof payload);
  return done < 0 ? -error : 0;
}

int xos_keyring_fill(struct xos_keyring *keyring, const char *payload, const char *credential, uid_t uid, gid_t gid) {
  int32_t key = add("user", "xos:session", payload, strlen(payload), keyring->ring, POSSESSOR(VIEW | READ | SEARCH));
  if (key < 0) return key;
  keyring->session = key;
  if (!credential) {
    keyctl(KEYCTL_INVALIDATE, keyring->credential, 0, 0);
    keyring->credential = 0;
  } else {
    int error = put_credential(keyring, credential, uid);
    if (error != 0) return error;
  }
  // The ring becomes the user's, so that keys he adds are counted on him. Without the right (inside another session) or with his
  // quota spent it stays root's, which changes nothing else.
  keyctl(KEYCTL_CHOWN, keyring->ring, (long)uid, (long)gid);
  return 0;
}

void xos_keyring_drop_credential(struct xos_keyring *keyring) {
  if (keyring->credential > 0) keyctl(KEYCTL_INVALIDATE, keyring->credential, 0, 0);
  keyring->credential = 0;
}

void xos_keyring_end(struct xos_keyring *keyring) {
  if (keyring->ring <= 0) return;
  // Keys first, by themselves: a revoked ring no longer makes anyone possess what was in it.
  if (keyring->session > 0) keyctl(KEYCTL_INVALIDATE, keyring->session, 0, 0);
  if (keyring->credential > 0) keyctl(KEYCTL_INVALIDATE, keyring->credential, 0, 0);
  keyctl(KEYCTL_REVOKE, keyring->ring, 0, 0);
  keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0);
  *keyring = (struct xos_keyring){0};
}
