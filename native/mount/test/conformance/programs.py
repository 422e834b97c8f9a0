"""Programs of Debian that verify what they read, or that bring tests along, run on a mounted volume by an ordinary user."""
import glob, os, shutil, subprocess

ALICE = 1879048193
TESTS = []


class Missing(Exception):
    """The program is not installed here."""


def test(f):
    TESTS.append(f)
    return f


def need(*names):
    for name in names:
        if not shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            raise Missing(name)


def place(views, name, volume="work", node="n1"):
    path = f"{views[volume][node]}/{name}"
    os.mkdir(path)
    os.chown(path, ALICE, ALICE)
    return path


def run(directory, *command, timeout=600, uid=ALICE, env=None, stdin=None):
    """As alice, in `directory`, which is HOME and TMPDIR as well. Its end of output is shown when it fails."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": directory, "TMPDIR": directory, "LANG": "C.UTF-8", **(env or {})}
    p = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout,
                       input=stdin, user=uid, group=uid, extra_groups=[])
    assert p.returncode == 0, f"{' '.join(command)[:200]} ended with {p.returncode}:\n{p.stdout[-6000:]}"
    return p.stdout


def shell(directory, script, **options):
    return run(directory, "bash", "-ec", script, **options)


def name_user(c):
    """Some programs want a name for their user: in this mount namespace only."""
    passwd = c.path("passwd")
    if os.path.exists(passwd):
        return
    with open("/etc/passwd") as old, open(passwd, "w") as f:
        f.write(old.read() + f"alice:x:{ALICE}:{ALICE}::/:/bin/sh\n")
    os.chmod(passwd, 0o644)
    subprocess.run(["mount", "--bind", passwd, "/etc/passwd"], check=True)


STRESSORS = """access chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl fd-race fiemap file-ioctl filename flock fpunch fsize fstat getdent handle hdd
    inode-flags iomix io lease link locka lockf lockmix lockofd metamix mknod mmap mmapfork msync msyncmany open readahead rename revio seek sendfile symlink sync-file touch unlink utime
    xattr""".split()


def stressor(name):
    def run_it(c, views):
        need("stress-ng")
        directory = place(views, f"stress-{name}")
        run(directory, "stress-ng", f"--{name}", "2", "--timeout", "4", "--temp-path", directory, "--verify", "--no-rand-seed", timeout=120)
        left = os.listdir(directory)
        assert not left, f"it left {left}"
    run_it.__name__ = f"stress_ng_{name}"
    return run_it


TESTS += [stressor(s) for s in STRESSORS]


@test
def fio_verifies_what_it_wrote(c, views):
    need("fio")
    for volume in ("work", "striped", "limited"):
        for engine, direct, pattern in (("psync", 0, "randrw"), ("psync", 1, "randwrite"), ("libaio", 1, "randrw"), ("mmap", 0, "randrw"), ("sync", 0, "rw")):
            directory = place(views, f"fio-{engine}-{direct}-{pattern}", volume)
            run(directory, "fio", "--name=verify", "--directory=.", f"--ioengine={engine}", f"--direct={direct}", f"--rw={pattern}", "--bsrange=512-128k" if engine != "mmap" else "--bs=4k",
                "--size=24m", "--numjobs=2", "--iodepth=8", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--serialize_overlap=1", "--fallocate=none", "--group_reporting")


@test
def dbench_runs_clean(c, views):
    need("dbench")
    directory = place(views, "dbench")
    loadfile = next((f for f in ("/usr/share/dbench/client.txt", "/usr/share/dbench/client_plain.txt") if os.path.exists(f)), None)
    out = run(directory, "dbench", *(["-c", loadfile] if loadfile else []), "-t", "10", "-D", ".", "4")
    assert "Throughput" in out, out


@test
def bonnie_runs_clean(c, views):
    # -f: not a call for each byte, which takes minutes and tells nothing.
    need("bonnie++")
    run(place(views, "bonnie"), "bonnie++", "-d", ".", "-f", "-s", "64M", "-r", "32M", "-n", "2:20000:10:4", "-q", "-u", str(ALICE), uid=0)


@test
def postmark_runs_clean(c, views):
    need("postmark")
    run(place(views, "postmark"), "postmark", stdin="set number 500\nset transactions 2000\nset size 100 50000\nset location .\nrun\nquit\n")


@test
def git_clones_and_checks(c, views):
    need("git")
    directory = place(views, "git")
    other = directory.replace(views["work"]["n1"], views["work"]["n2"])
    shell(directory, """
        git config --global user.email alice@demo; git config --global user.name alice; git config --global init.defaultBranch main
        git init -q origin; cd origin
        for d in 1 2 3 4 5 6 7 8; do mkdir d$d; for f in $(seq 60); do echo "$d $f" | sha256sum > d$d/f$f; done; git add .; git commit -qm "$d"; done
        git gc -q --aggressive; git fsck --full --strict
        cd ..; git clone -q --no-local origin clone; cd clone; git switch -qc work; git mv d1 e1; echo x >> d2/f1; git commit -qam moved; git rebase -q main; git push -q origin work
        git worktree add -q ../tree main; git worktree remove ../tree; git status --porcelain""", timeout=300)
    # The other node sees a whole repository at once, and may go on with it.
    shell(other, "cd clone; test -z \"$(git status --porcelain)\"; git fsck --full --strict; git checkout -q main; git merge -q work; cd ../origin; git fsck --full; git log --oneline work | wc -l")


@test
def sqlite_keeps_its_databases_whole(c, views):
    need("sqlite3")
    directory = place(views, "sqlite")
    other = directory.replace(views["work"]["n1"], views["work"]["n2"])
    for mode in ("delete", "truncate", "persist", "wal"):
        shell(directory, f"""
            sqlite3 {mode}.db 'pragma journal_mode={mode}; create table t(id integer primary key, who text, n integer, data blob);'
            work() {{ for i in $(seq 60); do sqlite3 -cmd '.timeout 60000' {mode}.db "begin immediate; insert into t(who, n, data) values('$1', $i, randomblob(3000)); update t set n=n+1 where id % 7 = 0; commit;"; done; }}
            work a & a=$!; work b & b=$!; work c & c=$!; wait $a; wait $b; wait $c
            test "$(sqlite3 {mode}.db 'select count(*) from t; pragma integrity_check')" = "$(printf '180\\nok')" """, timeout=300)
    # Not WAL: it shares memory, which SQLite allows on one machine only.
    shells = [subprocess.Popen(["bash", "-ec", f"for i in $(seq 60); do sqlite3 -cmd '.timeout 60000' delete.db \"insert into t(who, n) values('{n}', $i)\"; done"],
                               cwd=d, user=ALICE, group=ALICE, extra_groups=[]) for n, d in (("n1", directory), ("n2", other))]
    assert [p.wait(300) for p in shells] == [0, 0]
    out = shell(other, "sqlite3 delete.db 'select count(*) from t; pragma integrity_check'")
    assert out == "300\nok\n", out


@test
def postgresql_survives_a_killed_osd_under_pgbench(c, views):
    where = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not where:
        raise Missing("postgresql")
    directory = place(views, "postgresql")
    name_user(c)
    env = {"PATH": f"{where[-1]}:/usr/bin:/bin", "PGHOST": "/tmp", "PGPORT": str(c.base + 50), "PGDATA": f"{directory}/db", "PGUSER": "alice"}
    sh = lambda script: shell(directory, script, env=env, timeout=400)
    sh(f"initdb -U alice -A trust --no-instructions -k > log; printf \"unix_socket_directories='/tmp'\\nlisten_addresses=''\\n\" >> db/postgresql.conf; pg_ctl -w -t 120 -l server.log start || {{ cat server.log; false; }}; createdb bench; pgbench -q -i -s 3 bench")
    try:
        bench = subprocess.Popen(["pgbench", "-n", "-c", "4", "-j", "2", "-T", "12", "bench"], cwd=directory, env={**env, "HOME": directory}, user=ALICE, group=ALICE, extra_groups=[],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3):
            try:
                bench.wait(2)
            except subprocess.TimeoutExpired:
                pass
            c.kill("osd-n1")
            c.start("osd-n1")
            c.tell_osd("n1")
        out, _ = bench.communicate(timeout=200)
        assert bench.returncode == 0, out
        # Every transaction adds one amount to an account, a teller and a branch, and notes it in the history.
        sums = sh("psql -At bench -c 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers)'")
        assert sums == "t|t\n", sums
        # A crash of the server: it has to come back from its log.
        sh("pg_ctl -m immediate stop; pg_ctl -w -l server.log start; vacuumdb -q -a; psql -qAt bench -c 'create extension amcheck' -c \"select bt_index_check(c.oid, true) from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'btree' and c.relpersistence = 'p'\"")
    finally:
        subprocess.run(["pg_ctl", "-m", "fast", "stop"], cwd=directory, env=env, user=ALICE, group=ALICE, extra_groups=[], capture_output=True)
    assert "checksums enabled" not in sh("pg_checksums --check -D db > out || { cat out; exit 1; }")


@test
def trees_are_copied_packed_and_compared(c, views):
    need("rsync", "tar")
    directory = place(views, "trees", "striped")
    shell(directory, """
        cp -a /usr/lib/python3 from; cp -r --reflink=never /usr/include/linux from/linux; ln -s linux from/link; ln from/linux/fuse.h from/hard
        truncate -s 3M from/sparse; printf x | dd of=from/sparse bs=1 seek=2000000 conv=notrunc status=none; mkfifo from/fifo
        setfattr -n user.test -v value from/linux; setfacl -m u:1000:r from/linux/fuse.h
        rsync -aHAX --delete from/ to/; test -z "$(rsync -aHAXnic --delete from/ to/)"
        tar --xattrs --acls --sparse -cf all.tar from; mkdir un; tar --xattrs --acls -xf all.tar -C un; test -z "$(rsync -aHAXnic --delete from/ un/from/)"
        diff -r --no-dereference from/linux un/from/linux; du -s from to un > /dev/null; find from -newer all.tar | wc -l
        rm -r to un from; test "$(ls)" = all.tar""", timeout=400)


@test
def a_program_is_built_with_make(c, views):
    need("make", "gcc")
    directory = place(views, "build")
    shell(directory, """
        for i in $(seq 40); do printf '#include "all.h"\\nint f%d(void) { return %d; }\\n' $i $i > f$i.c; echo "int f$i(void);" >> all.h; done
        { echo '#include "all.h"'; echo 'int main(void) { return 0'; for i in $(seq 40); do echo " + f$i()"; done; echo ' != 820; }'; } > main.c
        printf 'OBJ=$(patsubst %%.c,%%.o,$(wildcard *.c))\\nprog: $(OBJ)\\n\\tgcc -o $@ $^\\n%%.o: %%.c all.h\\n\\tgcc -g -MMD -c $< -o $@\\n' > Makefile
        make -sj4; ./prog; test "$(make)" = "make: 'prog' is up to date."
        sleep 0.01; touch f3.c; test "$(make | grep -c 'gcc -g')" = 1; ./prog; make -sj4 -B; ./prog""", timeout=300)


PYTHON = ("test_os", "test_posix", "test_shutil", "test_fcntl", "test_mmap", "test_io", "test_fileio", "test_file", "test_largefile", "test_tempfile", "test_glob", "test_pathlib", "test_zipfile",
          "test_tarfile", "test_dbm", "test_dbm_dumb", "test_sqlite3", "test_mailbox", "test_stat", "test_genericpath", "test_posixpath", "test_filecmp", "test_import", "test_py_compile",
          "test_compileall", "test_shelve", "test_bufio", "test_univnewlines", "test_fileinput", "test_bz2", "test_lzma", "test_gzip")


def python(name):
    def run_it(c, views):
        if not glob.glob(f"/usr/lib/python3.*/test/{name}*"):
            raise Missing("libpython3-testsuite")
        name_user(c)
        directory = place(views, f"python-{name}")
        # Left out: timers that want more than a busy machine has, and a look at the root's own file system.
        run(directory, "python3", "-m", "test", "--tempdir", directory, "-u", "largefile,cpu", "--timeout", "300", "-i", "test_timerfd*", "-i", "test_disk_usage", name, timeout=500)
    run_it.__name__ = f"python_{name}"
    return run_it


TESTS += [python(name) for name in PYTHON]
