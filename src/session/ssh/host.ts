import { describe } from '../../core/errors.ts';
import { nodeHost } from '../../core/ids.ts';
import type { Service } from '../../core/service.ts';
import { coalesce } from '../../core/signal.ts';
import { day_ms, minute_ms } from '../../core/units.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { ResourcesDefinition } from '../../proto/xos/admission/v1/admission.ts';
import type { MembersView } from '../../vo/members.ts';
import { sshAuthorityBlob, sshFingerprint, sshLine, sshUserKeyId, verifySshCertificate } from '../../vo/ssh.ts';
import type { Trust } from '../../vo/trust.ts';

export interface SshHostOptions {
  readonly context: NodeContext;
  readonly trust: Trust;
  readonly members: MembersView;
  /** /etc/ssh/ssh_host_ed25519_key.pub */
  readonly hostKey: string;
  /** /usr/sbin/sshd: without it the node is reached by nobody, and reaches others all the same. */
  readonly sshd: string;
}

const service_name = 'ssh';

/**
 * What ssh and sshd of this node need to know of the VO, in /var/lib/xos/ssh, named by pam/ssh/*.conf: the CAs, a certificate for the
 * host key, which keys are void (KRL), and where the nodes are.
 */
export function sshHostService(options: SshHostOptions): Service {
  const { context, trust, members } = options;
  const { clock, disk, log: rootLog, serviceManager } = context.ports;
  const log = rootLog.child('ssh');
  const folder = `${context.paths.state}/ssh`;
  const stopping = new AbortController();
  let failure = '';
  let renewAt_ms = 0;
  let loop: Promise<void> = Promise.resolve();
  let undo = (): void => {};

  // Twice: an sshd that just starts anew for an earlier SIGHUP ignores this one, though it may have read its configuration already.
  const tellSshd = async (what: string): Promise<void> => {
    for (const pause_ms of [0, 2_000]) {
      await clock.sleep(pause_ms, stopping.signal);
      // One that does not run (systemd starts it when somebody calls) reads it when it starts.
      const tell = async (): Promise<void> => {
        if ((await serviceManager.state(service_name, stopping.signal)).state !== 'down') await serviceManager.reload(service_name, stopping.signal);
      };
      await tell().catch((thrown: unknown) => log.info(`sshd was not told of ${what}`, { reason: describe(thrown) }));
    }
  };
  const writeServerConfig = async (): Promise<void> => {
    const path = `${folder}/sshd_config`;
    const text = serverConfig(members);
    if ((await disk.read(path))?.toString('utf8') === text) return;
    await disk.writeAtomic(path, text, { mode: 0o644 });
    await tellSshd('the nodes');
  };
  const publish = async (): Promise<void> => {
    await disk.writeAtomic(`${folder}/ssh_config`, clientConfig(context, members), { mode: 0o644 });
    await writeRevoked(options, folder, stopping.signal);
    await writeServerConfig();
    failure = '';
  };
  const failed = (thrown: unknown): void => {
    if (stopping.signal.aborted) return;
    failure = describe(thrown);
    log.error('cannot tell ssh what is new in the VO', { reason: failure });
  };
  const certify = async (): Promise<void> => {
    if (clock.now_ms() < renewAt_ms || (await disk.facts(options.sshd)) === null) return;
    const line = (await disk.read(options.hostKey))?.toString('utf8').split(' ');
    if (line?.[0] !== 'ssh-ed25519' || line[1] === undefined) return; // sshd has not made its keys yet
    const public_key = Buffer.from(line[1], 'base64');
    const { certificate, expires_ms } = await context.rpc.client(members.registryNode(), ResourcesDefinition).certifySshHost({ public_key }, { signal: stopping.signal });
    const blob = Buffer.from(certificate);
    verifySshCertificate(blob, { kind: 'host', authority: sshAuthorityBlob(trust.node_ca), principal: context.node }, clock.now_ms());
    await disk.writeAtomic(`${folder}/host-cert.pub`, `${sshLine(blob, nodeHost(context.vo, context.node))}\n`, { mode: 0o644 });
    renewAt_ms = clock.now_ms() + Math.min((expires_ms - clock.now_ms()) / 2, day_ms);
    log.info('sshd has a host certificate', { expires: new Date(expires_ms).toISOString(), key: sshFingerprint(public_key) });
    // sshd reads it when it starts, and again at SIGHUP.
    await tellSshd('its certificate');
  };

  return {
    name: 'ssh',
    async start() {
      await disk.makeDirectory(folder, 0o755);
      await disk.writeAtomic(`${folder}/user_ca.pub`, `${sshLine(sshAuthorityBlob(trust.user_ca), `users of ${context.vo}`)}\n`, { mode: 0o644 });
      await disk.writeAtomic(`${folder}/known_hosts`, `@cert-authority * ${sshLine(sshAuthorityBlob(trust.node_ca), `nodes of ${context.vo}`)}\n`, { mode: 0o644 });
      const told = coalesce(publish, failed);
      undo = members.onChange(told);
      told();
      // Where runit has it, in a container, sshd is ours to start; on a machine whether it runs is the administrator's.
      const ours = (await disk.facts(`${context.paths.services}/${service_name}`)) !== null && (await disk.facts(options.sshd)) !== null;
      if (ours) await serviceManager.up(service_name, stopping.signal).catch((thrown: unknown) => log.warn('sshd was not started', { reason: describe(thrown) }));
      loop = (async () => {
        for (let pause_ms = 500; !stopping.signal.aborted; pause_ms = Math.min(pause_ms * 2, minute_ms)) {
          await certify().catch((thrown: unknown) => void (stopping.signal.aborted || log.warn('sshd has no host certificate yet; trying again', { reason: describe(thrown) })));
          await clock.sleep(pause_ms, stopping.signal).catch(() => {});
        }
      })();
    },
    async stop() {
      stopping.abort();
      undo();
      await loop;
    },
    status: () => ({ up: failure === '', detail: failure }),
  };
}

/** ssh_config(5): nodes by their ids, wherever they are; their certificates name `NODE.VO.xos`. Every name and address was checked when it came. */
function clientConfig(context: NodeContext, members: MembersView): string {
  const nodes = members.admitted().map(({ node, address }) => `Host ${node} ${nodeHost(context.vo, node)}\n  HostName ${address}\n  HostKeyAlias ${nodeHost(context.vo, node)}\n`);
  return `# Written by xosd from the VO's documents.\n${nodes.join('')}`;
}

/**
 * sshd_config(5): a node carries many members, so what one of them tries in vain must not shut out all (PerSourcePenalties, OpenSSH >= 9.8).
 * Guesses at members are counted by name all the same (src/vo/attempts.ts).
 */
function serverConfig(members: MembersView): string {
  const addresses = members.admitted().map(({ address }) => address).filter((address) => /^[0-9a-f.:]+$/i.test(address)).sort();
  return `# Written by xosd from the VO's documents.\n${addresses.length > 0 ? `PerSourcePenaltyExemptList ${addresses.join(',')}\n` : ''}`;
}

/** The key revocation list (KRL), by ssh-keygen: revoked members, whatever certificate they hold. An empty list when there are none. */
async function writeRevoked({ context, trust, members }: SshHostOptions, folder: string, signal: AbortSignal): Promise<void> {
  const { disk, spawn } = context.ports;
  const ids = members.revokedUsers().map(({ user, uid }) => `id: ${sshUserKeyId(trust.vo, user, uid)}\n`);
  await disk.writeAtomic(`${folder}/revoked.spec`, ids.join(''), { mode: 0o644, durable: false });
  const { exit_code, stderr } = await spawn.run('ssh-keygen', ['-q', '-k', '-f', `${folder}/revoked.new`, '-s', `${folder}/user_ca.pub`, `${folder}/revoked.spec`], { signal, timeout_ms: 10_000 });
  if (exit_code !== 0) throw new Error(`ssh-keygen made no revocation list: ${stderr.trim()}`);
  const made = await disk.read(`${folder}/revoked.new`);
  if (made !== null) await disk.writeAtomic(`${folder}/revoked.krl`, made, { mode: 0o644 });
  await disk.remove(`${folder}/revoked.new`);
}
