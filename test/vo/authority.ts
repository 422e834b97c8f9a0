import { fingerprint, type Trust } from '../../src/vo/trust.ts';
import { foundAuthorities, type Founding } from '../../src/vo/authority.ts';
import { writeCredential, newSerial } from '../../src/vo/leaf.ts';
import { certificateRequest, keyFromPem, keyOfRequest, newKey } from '../../src/vo/keys.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { groupsOf, uidOf } from '../../src/account/uid.ts';
import type { UserClaims } from '../../src/vo/credential.ts';
import type { KeyObject } from 'node:crypto';

export interface TestVo {
  readonly founding: Founding;
  readonly trust: Trust;
  readonly pin: string;
}

/** Real authorities of a VO. */
export async function testVo(vo = 'demo', number = 1, now_ms = Date.now()): Promise<TestVo> {
  const founding = await foundAuthorities(vo, now_ms, systemRandom);
  const { root, user_ca, node_ca, node_ca_cross, registry } = founding;
  const trust = { vo, number, root, user_ca, node_ca, node_ca_cross, registry, registry_node: 'n1', registry_address: '127.0.0.1', registry_port: 7001, founded_ms: now_ms };
  return { founding, trust, pin: fingerprint(root) };
}

export const claimsOf = (change: Partial<UserClaims> = {}): UserClaims => ({
  vo: 'demo', number: 1, user: 'alice', uid: uidOf(1, 1), groups: groupsOf(1, uidOf(1, 1)), roles: [], session: '0123456789abcdef0123456789abcdef', ...change,
});

/** A credential as the CDA of `vo` would issue it, whatever the claims are. */
export async function testCredential(vo: TestVo, options: { claims?: Partial<UserClaims>; now_ms?: number; life_ms?: number; issuer?: { key: string; certificate: string } } = {}): Promise<{ pem: string; key: KeyObject; claims: UserClaims }> {
  const key = newKey();
  const claims = claimsOf(options.claims);
  const now_ms = options.now_ms ?? Date.now();
  const issuer = options.issuer ?? { key: vo.founding.user_ca_key, certificate: vo.founding.user_ca };
  const pem = writeCredential({
    claims, publicKey: keyOfRequest(certificateRequest(key, claims.user)), serial: newSerial(systemRandom), now_ms,
    expires_ms: now_ms + (options.life_ms ?? 3_600_000), issuer: { key: keyFromPem(issuer.key), certificate: issuer.certificate },
  });
  return { pem, key, claims };
}
