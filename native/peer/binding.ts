/**
 * The native side of native/peer, in the order of src/binding.cc. Arguments are checked there before any work; failed system calls
 * reject or throw an Error with `code` (ENOENT …), `errno` and `syscall`.
 */
export interface Binding {
  /** SO_PEERCRED of a connected Unix socket: who the other end was when it connected, in this process's namespaces. unix(7). */
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };
  /** mount(2) without type and data; on a thread of libuv's pool. */
  mount(source: string, target: string, flags: number): Promise<void>;
  /** umount2(2); on a thread of libuv's pool. */
  unmount(target: string, flags: number): Promise<void>;
  /** statfs(2); fails (ENOTCONN, EIO …) or hangs with the file system behind the path. On a thread of libuv's pool. */
  statFileSystem(path: string): Promise<{ type: number; block_bytes: number; blocks: number; blocks_available: number }>;
  /** Payload of a key of type user or logon by its description, searched from the session keyring; null when there is none. keyctl(2). */
  readSessionKey(description: string): Buffer | null;
  /** KEYCTL_UPDATE of a key by its id; throws ENOKEY, EKEYREVOKED, EACCES, EDQUOT … keyctl(2). */
  updateKey(key: number, payload: Uint8Array): void;
  /** The kernel module xos_cred wipes all credentials of these uids and with these serial numbers; how many, or null where it is not loaded. Throws EPERM, EINVAL. */
  revokeCredentials(uids: readonly number[], serials: readonly Uint8Array[]): number | null;
  /** crypt(3), on a thread of libuv's pool: the hash of a phrase by a setting or an earlier hash. Rejects: EINVAL (an unknown method), ERANGE (more than 511 bytes). */
  hashPassword(phrase: string, setting: string): Promise<string>;
  /** crypt_gensalt(3): the setting of a new hash by the method with this prefix (`$y$`); cost 0 is the library's. At least 16 random bytes. */
  passwordSetting(prefix: string, cost: number, random: Uint8Array): string;
  /** prctl(PR_SET_DUMPABLE): false keeps the keys of this process out of core files and away from ptrace by its own uid. */
  setDumpable(dumpable: boolean): void;
  /**
   * Makes malloc give large blocks back when they are freed, and use two arenas. glibc by itself learns from the first freed block of
   * 16 MiB (a scrypt) to keep such blocks for ever, one in each arena.
   */
  tuneAllocator(): void;
  /** malloc_trim(3): gives what is free at the moment back to the kernel. Takes a millisecond or two. */
  trimMemory(): void;
}
