import { crc32c } from '../../src/checkpoint/manifest.ts';

/** A manifest as the engine writes it, by default of alice's job n1-1; change what the test is about. */
export function manifestText(changes: object = {}): string {
  const line = JSON.stringify({
    format: 'xtreemos-checkpoint', version: 1, name: 'one', created_ms: Date.UTC(2026, 0, 2, 3, 4, 5), job: 'n1-1', program: '/usr/bin/python3',
    argv: ['python3', 'crunch me.py'], cwd: '/home/alice', vo: 'demo', user: 'alice', uid: 1879113729, gid: 1879113729, session: 'ab'.repeat(16), node: 'n2',
    kernel: '6.18', criu: '4.2.1', cpu_features: ['avx2'], leave_running: false, tcp_established: true, bytes: 5_242_889, frozen_ms: 12,
    processes: [{ pid: 100, parent: 1, program: 'python3' }], streams: [{ kind: 'pty', inode: 0, target_fds: [0, 1, 2], held: true, pending: '' }],
    files: [{ name: 'pages-1.img', size: 5, crc32c: 1 }], pack: { name: 'state.img', size: 9, sha256: '00', entries: [] }, certificate: '', ...changes,
  });
  return `${line}\ncrc32c=${crc32c(Buffer.from(line)).toString(16).padStart(8, '0')}\nsignature=abcd\n`;
}
