import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from './command.ts';
import { declaredCommands } from './declared.ts';

/** Every x-command and daemon, sorted by name: what this folder exports as `command`, and what is declared for other programs. */
export async function allCommands(): Promise<readonly Command[]> {
  const folder = join(import.meta.dirname, '..');
  const files = readdirSync(folder).filter((name) => /^(?:x[a-z]+|[a-z]+\.xtreemfs)\.ts$/.test(name));
  const own = await Promise.all(files.map(async (name): Promise<Command> => {
    const module = await import(join(folder, name)) as { command?: Command };
    if (module.command === undefined) throw new Error(`src/cli/${name} does not export its declaration as 'command'`);
    return module.command;
  }));
  return [...own, ...declaredCommands].sort((a, b) => (a.name < b.name ? -1 : 1));
}
