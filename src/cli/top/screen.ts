import type { Stream } from '../lib/command.ts';

/** A terminal that a command has for itself: the other screen, keys as they are pressed. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
  /** Draws lines over what is there; no longer than the screen, without line ends. */
  draw(lines: readonly string[]): void;
  /** Resolves with the next key or `resize`, or null after `timeout_ms` or when `signal` aborts. */
  wait(timeout_ms: number, signal: AbortSignal): Promise<string | null>;
  /** Gives the terminal back as it was. Call it on every path; a second time does nothing. */
  close(): void;
}

type Terminal = Stream & { readonly rows?: number; on(event: 'resize', listener: () => void): unknown; removeListener(event: 'resize', listener: () => void): unknown };

/** `out` is a terminal, `input` may be none (then no keys come). */
export function openScreen(out: Terminal, input: NodeJS.ReadStream): Screen {
  const pressed: string[] = [];
  let wake = (): void => undefined;
  const take = (key: string): void => {
    pressed.push(key);
    wake();
  };
  const onData = (chunk: Buffer): void => { for (const key of chunk.toString('latin1')) take(key); };
  const onResize = (): void => take('resize');
  const end = (): void => {
    close();
    process.exit(143);
  };
  let closed = false;
  const close = (): void => {
    if (closed) return;
    closed = true;
    if (input.isTTY) {
      input.removeListener('data', onData);
      input.setRawMode(false);
      input.pause();
    }
    out.removeListener('resize', onResize);
    process.removeListener('SIGTERM', end);
    out.write('\x1b[?25h\x1b[?1049l');
  };
  if (input.isTTY) {
    input.setRawMode(true);
    input.resume();
    input.on('data', onData);
  }
  out.on('resize', onResize);
  process.once('SIGTERM', end);
  out.write('\x1b[?1049h\x1b[?25l\x1b[2J');
  return {
    get columns() { return out.columns ?? 80; },
    get rows() { return out.rows ?? 24; },
    // The rest of each line is wiped after it is written and the rest of the screen last: nothing flickers.
    draw: (lines) => void out.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`),
    async wait(timeout_ms, signal) {
      if (pressed.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, timeout_ms);
          const done = (): void => {
            clearTimeout(timer);
            resolve();
          };
          wake = done;
          signal.addEventListener('abort', done, { once: true });
        });
        wake = () => undefined;
      }
      return pressed.shift() ?? null;
    },
    close,
  };
}
