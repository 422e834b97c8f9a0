import { createCipheriv, createDecipheriv, createHash, createPrivateKey, createPublicKey, createSecretKey, diffieHellman, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto';
import { limits } from './limits.ts';

/**
 * What protects datagrams between two nodes: an X25519 key that a node makes at each start and names in its signed descriptor, and
 * ChaCha20-Poly1305 under the key that both derive. No handshake, so that a message to a peer met by chance costs one datagram; and what is
 * recorded today cannot be read when the node's long-term key is lost tomorrow, since these keys live as long as the process.
 */
export interface OwnKey {
  readonly key: KeyObject;
  /** 32 bytes, base64url: the attribute of the descriptor. */
  readonly name: string;
  readonly id: Buffer;
}

const der_prefix = Buffer.from('302a300506032b656e032100', 'hex'); // SubjectPublicKeyInfo of X25519 (RFC 8410)

export const idOf = (name: string): Buffer => createHash('sha256').update(`xos-overlay-key\n${name}`).digest().subarray(0, 8);

export function newOwnKey(): OwnKey {
  // From DER and back: Node gives no raw form of its own.
  const { privateKey } = generateKeyPairSync('x25519');
  const key = createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const name = createPublicKey(key.export({ type: 'pkcs8', format: 'pem' })).export({ type: 'spki', format: 'der' }).subarray(der_prefix.length).toString('base64url');
  return { key, name, id: idOf(name) };
}

/** Throws when `name` is no X25519 key. */
function keyOfName(name: string): KeyObject {
  const raw = Buffer.from(name, 'base64url');
  if (raw.length !== 32) throw new RangeError('an X25519 key has 32 bytes');
  return createPublicKey({ key: Buffer.concat([der_prefix, raw]), format: 'der', type: 'spki' });
}

export const header_bytes = 1 + 8 + 8 + 8;
export const tag_bytes = 16;
export const data_type = 1;

/** Both directions with one peer under one pair of keys. */
export class Session {
  /** The peer's id, hexadecimal. */
  readonly id: string;
  readonly #own: Buffer;
  readonly #peer: Buffer;
  readonly #out: KeyObject;
  readonly #in: KeyObject;
  #next = 1;
  #highest = 0;
  readonly #seen = new Uint8Array(limits.replay_window);

  constructor(own: OwnKey, name: string) {
    const shared = diffieHellman({ privateKey: own.key, publicKey: keyOfName(name) });
    // Key objects: a cipher from a buffer takes three times as long to make (22 and 7 µs).
    const derive = (from: string, to: string): KeyObject => createSecretKey(Buffer.from(hkdfSync('sha256', shared, Buffer.alloc(0), `xos-overlay-v1\n${from}\n${to}`, 32)));
    this.#own = own.id;
    this.#peer = idOf(name);
    this.id = this.#peer.toString('hex');
    this.#out = derive(own.name, name);
    this.#in = derive(name, own.name);
  }

  /** A datagram: type, who sends, who shall read, number, then the sealed piece. */
  seal(plain: Uint8Array): Buffer {
    const head = Buffer.allocUnsafe(header_bytes);
    head[0] = data_type;
    this.#own.copy(head, 1);
    this.#peer.copy(head, 9);
    head.writeBigUInt64LE(BigInt(this.#next++), 17);
    const cipher = createCipheriv('chacha20-poly1305', this.#out, nonceOf(head), { authTagLength: tag_bytes });
    cipher.setAAD(head, { plaintextLength: plain.length });
    const body = cipher.update(plain);
    cipher.final();
    return Buffer.concat([head, body, cipher.getAuthTag()]);
  }

  /** The piece in a datagram; 'forged' when the key does not fit, 'replayed' when it came before or is too old to tell. */
  open(datagram: Buffer): Buffer | 'forged' | 'replayed' {
    const number = Number(datagram.readBigUInt64LE(17));
    if (!Number.isSafeInteger(number) || number === 0) return 'forged';
    if (number + limits.replay_window <= this.#highest || (number <= this.#highest && this.#seen[number % limits.replay_window] === 1)) return 'replayed';
    const head = datagram.subarray(0, header_bytes);
    const end = datagram.length - tag_bytes;
    const decipher = createDecipheriv('chacha20-poly1305', this.#in, nonceOf(head), { authTagLength: tag_bytes });
    decipher.setAAD(head, { plaintextLength: end - header_bytes });
    decipher.setAuthTag(datagram.subarray(end));
    const plain = decipher.update(datagram.subarray(header_bytes, end));
    try {
      decipher.final();
    } catch {
      return 'forged';
    }
    // Only what was proven moves the window.
    for (let skipped = this.#highest + 1; skipped < number && skipped <= this.#highest + limits.replay_window; skipped++) this.#seen[skipped % limits.replay_window] = 0;
    if (number > this.#highest) this.#highest = number;
    this.#seen[number % limits.replay_window] = 1;
    return plain;
  }
}

function nonceOf(head: Buffer): Buffer {
  const nonce = Buffer.alloc(12);
  head.copy(nonce, 4, 17, 25);
  return nonce;
}
