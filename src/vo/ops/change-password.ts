import { XosError } from '../../core/errors.ts';
import { parseUserName } from '../../core/ids.ts';
import type { ChangePasswordRequest, ChangePasswordResponse } from '../../proto/xos/credential/v1/credential.ts';
import { type LoginPolicy, policyOf } from '../login-policy.ts';
import { checkNewPassword, checkPassword, makeVerifier } from '../password.ts';
import type { Registry } from '../registry.ts';
import type { MemberEntry } from '../state.ts';
import { tryPassword } from './password-try.ts';

/** Credentials.ChangePassword: the member's own change, by the old one. Wrong ones count as at a login. Throws XOS_BAD_PASSWORD too. */
export async function changePassword(registry: Registry, request: ChangePasswordRequest, from: { readonly node: string; readonly signal: AbortSignal }): Promise<ChangePasswordResponse> {
  const { clock, log, random } = registry.ports;
  const vo = registry.require();
  const user = parseUserName(request.user);
  const policy = policyOf(vo.login_policy);
  const member = await tryPassword(registry, { user, password: request.old, node: from.node, rhost: request.rhost });
  const password = checkNewPassword(request.password, policy.password_length_min);
  await refuseUsed(password, member, policy);
  const verifier = await makeVerifier(password, policy.password_cost, random);
  from.signal.throwIfAborted();
  await registry.propose({ kind: 'member-password', user, verifier, at_ms: clock.now_ms() });
  log.info('password changed', { user: `${user}@${vo.vo}` });
  return {};
}

/** Throws XOS_BAD_PASSWORD when it is one of the last ones that count, the present one included. */
async function refuseUsed(password: string, member: MemberEntry, { password_history: count, password_cost }: LoginPolicy): Promise<void> {
  for (const verifier of [member.verifier, ...(member.history ?? [])].slice(0, count)) {
    if (await checkPassword(password, verifier, password_cost)) throw new XosError('XOS_BAD_PASSWORD', `the password was used before: it must differ from the last ${count}`, { rule: 'used', count });
  }
}
