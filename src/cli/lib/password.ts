import { randomInt } from 'node:crypto';
import { StringDecoder } from 'node:string_decoder';
import { XosError } from '../../core/errors.ts';
import type { Call } from './command.ts';

// Without i, l, o, 0, 1: it is read from a screen and typed.
const letters = 'abcdefghjkmnpqrstuvwxyz23456789';

/** Four groups of four: 79 bits. */
export function makePassword(): string {
  return Array.from({ length: 4 }, () => Array.from({ length: 4 }, () => letters[randomInt(letters.length)]).join('')).join('-');
}

/**
 * A new password: the first line of standard input, or typed twice on the terminal, or made up (`made` is then it, to be shown once).
 * Throws XOS_BAD_PASSWORD when the two differ or there is none.
 */
export async function newPassword(call: Call, who: string, fromInput: boolean): Promise<{ readonly password: string; readonly made: string | null }> {
  if (fromInput) return { password: await firstLine(call.signal), made: null };
  if (!process.stdin.isTTY || call.err.isTTY !== true) {
    const made = makePassword();
    return { password: made, made };
  }
  const first = await typed(call, `New password of ${who}: `);
  const second = await typed(call, 'Again: ');
  if (first !== second) throw new XosError('XOS_BAD_PASSWORD', 'the two passwords differ; nothing was changed');
  return { password: first, made: null };
}

async function firstLine(signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    chunks.push(chunk);
    size += chunk.length;
    if (chunk.includes(10) || size > 4096) break;
  }
  const [line = ''] = Buffer.concat(chunks).toString('utf8').split('\n');
  if (line === '') throw new XosError('XOS_BAD_PASSWORD', 'there is no password on standard input');
  return line.replace(/\r$/, '');
}

/** One line from the terminal, not echoed. */
function typed(call: Call, prompt: string): Promise<string> {
  const { stdin } = process;
  return new Promise<string>((resolve, reject) => {
    const decoder = new StringDecoder('utf8');
    let line = '';
    const done = (settle: () => void): void => {
      stdin.setRawMode(false);
      stdin.removeListener('data', onData);
      stdin.pause();
      call.signal.removeEventListener('abort', onAbort);
      call.err.write('\n');
      settle();
    };
    const onAbort = (): void => done(() => reject(call.signal.reason as Error));
    const onData = (chunk: Buffer): void => {
      for (const character of decoder.write(chunk)) {
        if (character === '\r' || character === '\n') return done(() => resolve(line));
        if (character === '\u0003') return done(() => process.kill(process.pid, 'SIGINT')); // raw mode takes ^C from the terminal
        if (character === '\u0004' && line === '') return done(() => reject(new XosError('XOS_BAD_PASSWORD', 'no password was given')));
        if (character === '\u007f' || character === '\b') line = [...line].slice(0, -1).join('');
        else if (character === '\u0015') line = '';
        else line += character;
      }
    };
    call.err.write(prompt);
    stdin.setRawMode(true);
    stdin.on('data', onData);
    stdin.resume();
    call.signal.addEventListener('abort', onAbort, { once: true });
  });
}
