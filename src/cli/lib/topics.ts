import type { Page } from './man.ts';
import { site } from './site-page.ts';

/** Manual pages that are about no single command. The bodies are mdoc(7) source. */
const overview: Page = {
  name: 'xos', section: 7, summary: 'overview of the XtreemOS grid',
  seeAlso: [['xps', 1], ['xkill', 1], ['xwait', 1], ['xwhere', 1], ['xrun', 1], ['xlocal', 1], ['xcheckpoint', 1], ['xrestart', 1], ['xmigrate', 1], ['xnode', 1],
    ['xvolume', 1], ['xquery', 1], ['xpublish', 1], ['xsubscribe', 1], ['xshape', 1], ['xvo', 8], ['xgrid', 8], ['xos-policy', 5], ['xosd', 8]],
  body: String.raw`.Sh DESCRIPTION
XtreemOS makes the machines of a virtual organisation (VO) one system for its members.
You log in on any node with a name such as
.Li alice@demo
and your password, once; then ordinary programs, files and commands are used as on one machine.
.Ss Jobs
A program whose name you type may run on any node that has room.
An ordinary process stands for it here, the proxy: it has the program's name in
.Xr ps 1 ,
gets its signals, and ends as it ends; pipes, redirections and the terminal work over it.
Cheap programs, and those that work on this node's own state, stay here;
.Xr xos-policy 5
tells how that is decided,
.Xr xwhere 1
where something runs or would, and
.Xr xrun 1
and
.Xr xlocal 1
decide by hand.
.Xr xps 1
shows your jobs on all nodes;
.Xr xkill 1
and
.Xr xwait 1
take their ids on any node.
.Pp
A job id is the node where it was started and a number:
.Li n1\-42 .
.Ss Files
Your home is a volume of the grid, the same on every node, below
.Pa /grid .
What you write on one node is read on another.
.Pa /tmp
is each node's own.
.Ss Checkpoints
.Xr xcheckpoint 1
stores a job with all its processes in your volume;
.Xr xrestart 1
brings it back, on another node too.
.Xr xmigrate 1
moves it to another node while it runs.
.Ss When a node dies
The jobs that ran there are lost: their proxies say so and end with status 137,
.Xr xps 1
shows them as lost.
A job that has a checkpoint can be brought back.
.Ss Finding nodes, and telling others
Nodes know each other without a server.
.Xr xquery 1
finds those that are as you need them, by what they are and what they do now.
.Xr xpublish 1
and
.Xr xsubscribe 1
carry messages on topics to whoever listens, on any node.
.Ss Virtual organisations
Members, their passwords and roles, and nodes are kept by the VO's registry;
.Xr xvo 8
manages them.
A member has the same uid on every node without an entry in any file there.
A login gives a credential of eight hours, which is renewed while the session lasts and gone at its end.
.Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev XOS_LOCAL
If set, and neither empty nor 0, programs stay on this node.
.It Ev XOS_NODE
The node where programs that leave this one go.
.It Ev XOS_DEBUG
If set, x\-commands print where in their source an error arose.
.El
.Sh EXIT STATUS
X\-commands end with 0 when it was done, 1 when it could not be done (the reason is on stderr) and 2 when the command line was not understood.
Those that run or wait for a job end with its status.`.split('\n'),
};

const policy: Page = {
  name: 'xos-policy', section: 5, summary: 'which programs leave a node when their name is typed',
  seeAlso: [['xwhere', 1], ['xrun', 1], ['xlocal', 1], ['xos', 7]],
  body: String.raw`.Sh DESCRIPTION
The policy is text, one rule a line:
.Pp
.Dl PATTERN  local|grid|auto  [node=NODE] [owner=UID|root|self] [cost=low|normal|high]
.Dl default  local|grid  [leave=low|normal|high]
.Dl vo  NAME|*
.Pp
PATTERN is an absolute path in which
.Li *
and
.Li \&?
match within a folder and
.Li **
matches over folders.
It is compared with the path that was typed (found in PATH) and with the file behind its symbolic links.
The
.Em last
line that matches decides:
.Cm local
keeps the program on this node,
.Cm grid
lets it go to a node that has room, or to NODE.
A line with an owner matches files of that owner only;
.Cm self
is whoever runs the program.
With
.Cm auto ,
and for programs that no line matches, the file's extended attribute
.Li security.xos.place
decides (local, grid, or cost=low, cost=normal, cost=high; root may set it; it is not asked of volumes); then the cost class of the line or of the attribute:
programs leave from the class
.Cm leave
on, normal if nothing is said; then the
.Cm default ,
which is grid if nothing is said.
Lines behind
.Cm vo
are for sessions of that VO only.
Empty lines, lines that start with
.Li #
and lines that are no rule are skipped.
.Pp
The rules of the node are read first, in the order of their file names, then the user's own, which so win over them.
Where the kernel module xos_exec is loaded the node's rules decide in the kernel, and yours can keep a program here that they let go, but not the other way round; see
.Xr xrun 1 .
.Pp
Some programs never leave, whatever the policy says: those that carry the mark
.Pq byte 9 of the ELF header is Ql x ,
which the image gives to cheap programs, to shells and to what works on the node's own state; set\-uid programs; and programs outside the places that
all nodes share
.Pq Pa /home , /grid , /usr , /opt , /bin , /sbin , /lib , /etc .
A program also stays when its working directory is not in such a place, or when it inherits descriptors above 2.
A script goes where its interpreter goes.
.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/xos/policy.d/*.policy
The rules of the node.
.It Pa ~/.config/xos/policy
Your own.
.El
.Sh EXAMPLES
.Bd -literal
# what I build, except linking, on the big machine
/usr/bin/gcc*     grid  node=n2
/usr/bin/*ld*     local
/home/alice/**    grid
.Ed`.split('\n'),
};

const login: Page = {
  name: 'pam_xos', section: 8, summary: 'PAM module for members of a virtual organisation',
  seeAlso: [['xvo', 8], ['xosd', 8], ['xenter', 8], ['xos', 7]],
  body: String.raw`.Sh DESCRIPTION
Answers for names of the form
.Li NAME@VO ;
every other name is passed over and goes on to the next module.
Whether a password is right, and who may be here, xosd decides; nothing is asked of a user of the machine.
.Pp
.Bl -tag -width Ds
.It Sy auth
Asks for the password.
Wrong ones make further tries wait: after the fourth at one node 1, 2, 4 seconds and so on, a minute at most, and longer for a remote host that tries many names.
Names that do not exist wait as others do.
An administrator ends the wait with
.Ql xvo member unlock .
.It Sy account
Refuses revoked members, those that the site denies, and those whose name or uid a local account has.
Asks for a new password where the present one has expired.
.It Sy password
Changes the password at the registry of the VO, by its rules
.Pq Ql xvo login\-policy .
.It Sy session
Opens a session: home, credential in the session keyring, ssh agent, and the namespaces from which programs may leave the node.
.It Sy setcred
PAM_REFRESH_CRED renews the credential, PAM_DELETE_CRED takes it away.
.El
.Pp
When the VO cannot be reached, who logged in on this node before may log in to this node only, for as long as the VO's policy and the site
.Pq offline_hours_max in node.json
say; programs then stay here.
.Pp
From node to node inside of a session
.Xr ssh 1
asks for nothing: the session's agent holds a certificate, and the other node opens a session of its own by it.
.Sh ARGUMENTS
.Bl -tag -width Ds
.It Cm handle_env
For sshd: what a right password opened is handed on by PAM's environment.
.It Cm ssh_certificate
For sshd: a certificate of the VO that it has accepted opens a session too.
.It Cm no_handle=ignore
For su: whom we have not authenticated gets in without a grid session.
.It Cm no_exec
Programs stay on this node.
.It Cm interpreter Ns = Ns Ar PATH
Who gets the programs of a session.
.It Cm socket Ns = Ns Ar PATH , Cm timeout_ms Ns = Ns Ar N
The agent, and the bound of its answers.
.El
.Sh FILES
.Bl -tag -width Ds
.It Pa /run/xos/agent.sock
The agent, which is xosd.
.It Pa /run/xos/passwd , /run/xos/group
Names and numbers of members and their groups, read by the name service module
.Li xos
of nsswitch.conf; no daemon is asked, so that a look\-up never hangs.
.It Pa /var/lib/xos/node/offline.json
Verifiers for logins without the VO.
.It Pa /var/lib/xos/ssh
What ssh and sshd read: keys of the VO, the host's certificate, revoked keys, where the nodes are.
.It Pa /etc/default/locale
The language of messages.
.El`.split('\n'),
};

export const topics: readonly Page[] = [overview, policy, site, login];
