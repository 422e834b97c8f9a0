import { CredentialsDefinition } from '../../proto/xos/credential/v1/credential.ts';
import { verifyCredential } from '../../vo/credential.ts';
import { requestFor } from '../../vo/identity.ts';
import { keyToPem, newKey } from '../../vo/keys.ts';
import { renewProofBytes } from '../../vo/proof.ts';
import type { SessionParts } from '../parts.ts';
import { tellRelay } from '../relay.ts';
import { prove } from '../sign.ts';
import type { OwnSession } from '../table.ts';

/** A new credential, with a new key, for a session of this node; relay and other nodes learn the new expiry. */
export async function renewLogin(parts: SessionParts, held: OwnSession, signal: AbortSignal): Promise<void> {
  const { context, members, table, trust } = parts;
  const key = newKey();
  const csr = requestFor(key, held.user);
  const proof = prove(held, context.ports, (moment) => renewProofBytes({ vo: context.vo, session: held.session, origin: context.node, csr, ...moment }));
  const cda = context.rpc.client(members.registryNode(), CredentialsDefinition);
  const { credential, ssh_certificate } = await cda.renew({ credential: held.own.credential, csr, ...proof }, { signal });
  const { claims, expires_ms } = verifyCredential(credential, trust, context.ports.clock.now_ms());
  if (table.held(held.session) === null) return; // ended meanwhile
  const renewed = { ...held, roles: claims.roles, groups: claims.groups, expires_ms, own: { ...held.own, credential, key: keyToPem(key), ssh: Buffer.from(ssh_certificate ?? []).toString('base64'), credential_expires_ms: expires_ms } };
  await table.put(renewed);
  if (held.own.credential_key > 0) parts.keys.update(held.own.credential_key, credential);
  context.ports.log.child('session').info('credential renewed', { session: held.session, user: held.user });
  if (context.native.relay.connected) await tellRelay(parts, renewed, signal);
  await parts.spread.syncAll(signal);
}
