import { XosError } from '../../core/errors.ts';
import { parseUserName } from '../../core/ids.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { ChangePasswordRequest, ChangePasswordResponse } from '../../proto/xos/credential/v1/credential.ts';
import { checkNewPassword, checkPassword, makeVerifier } from '../password.ts';
import type { Registry } from '../registry.ts';

/** Credentials.ChangePassword: the member's own change, by the old one. Wrong ones count towards the lock as at a login. */
export async function changePassword(registry: Registry, request: ChangePasswordRequest, call: Pick<RpcCall, 'signal'>): Promise<ChangePasswordResponse> {
  const { clock, log, random } = registry.ports;
  const vo = registry.require();
  const user = parseUserName(request.user);
  const member = Object.hasOwn(vo.members, user) ? vo.members[user]! : null;
  if ((member?.locked_until_ms ?? 0) > clock.now_ms()) throw new XosError('XOS_LOCKED', `'${user}@${vo.vo}' is locked after too many wrong passwords`, { user });
  const right = await checkPassword(request.old, member?.verifier ?? null);
  if (member === null || !right) {
    if (member !== null) await registry.propose({ kind: 'login-failed', user, at_ms: clock.now_ms() });
    throw new XosError('XOS_WRONG_PASSWORD', `wrong password for '${user}@${vo.vo}'`, { user });
  }
  if (member.state === 'revoked') throw new XosError('XOS_REVOKED', `member '${user}@${vo.vo}' is revoked`, { user });
  const verifier = await makeVerifier(checkNewPassword(request.password), random);
  call.signal.throwIfAborted();
  await registry.propose({ kind: 'member-password', user, verifier });
  log.info('password changed', { user: `${user}@${vo.vo}` });
  return {};
}
