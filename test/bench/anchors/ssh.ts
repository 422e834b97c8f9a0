// OpenSSH between the two nodes of the pen: sshd on n2, a client on n1 with a ControlMaster connection that stays open.

import { type Pen, penAddress } from './pen.ts'

const directory = '/run/bench-ssh'

/** The prefix of a command that runs on n2 over the open master connection. */
export const sshCommand = ['ssh', '-F', `${directory}/config`, 'n2'] as const

export async function startSsh(pen: Pen): Promise<void> {
  await pen.sh(`
    mkdir -p ${directory} /run/sshd; cd ${directory}; chmod 700 .
    ssh-keygen -q -t ed25519 -N '' -f host_key; ssh-keygen -q -t ed25519 -N '' -f user_key
    cp user_key.pub authorized_keys`)
  await pen.write(`${directory}/sshd_config`, [
    `ListenAddress ${penAddress.n2}`, `HostKey ${directory}/host_key`, `AuthorizedKeysFile ${directory}/authorized_keys`,
    'PermitRootLogin yes', 'StrictModes no', 'UsePAM no', `PidFile ${directory}/sshd.pid`, 'MaxSessions 100', '',
  ].join('\n'))
  await pen.write(`${directory}/config`, [
    'Host n2', ` HostName ${penAddress.n2}`, ' User root', ` IdentityFile ${directory}/user_key`, ' StrictHostKeyChecking no',
    ` UserKnownHostsFile ${directory}/known_hosts`, ' LogLevel ERROR', ' ControlMaster auto', ` ControlPath ${directory}/master`,
    ' ControlPersist 3600', '',
  ].join('\n'))
  await pen.sh(`/usr/sbin/sshd -f ${directory}/sshd_config`, { node: 'n2' })
  // ControlPersist keeps the master in the background with our streams open: they must not be the pipes that the bench waits on.
  await pen.sh(`${sshCommand.join(' ')} true < /dev/null > /dev/null 2> /dev/null; ssh -F ${directory}/config -O check n2 2> /dev/null`)
}
