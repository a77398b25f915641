# SPDX-License-Identifier: GPL-2.0-or-later
# Who makes room for a VM (make_room): a service of the host, a container, a service in one, a VM. All are
# real; pct and qm are played. For soak and kill-sweep, which check that none is left stopped, started
# twice, or touched when it is in nobody's way. One of each kind at most.
package Yield;
use strict;
use warnings;
use Exporter 'import';
use Ferry;
our @EXPORT = qw($yielding_vm yield_begin yield_settings yield_await yield_is_settled yield_wrong yield_end);

our $yielding_vm = 106;
my $ctid = 110;
my $unit = 'soak-holder.service';
# In the list too, but it does not use the card.
my $bystander = 'soak-bystander.service';
my $settings = '/etc/gpu-ferry/gpu-ferry.conf';
my $saved;

my %entry = (
	unit => "{ unit = \"$unit\"; }",
	'container-unit' => "{ container = $ctid; unit = \"ollama.service\"; }",
	container => "{ container = $ctid; }",
	vm => "{ vm = $yielding_vm; }",
);

sub spew {
	my ($path, $text, $mode) = @_;
	open(my $file, '>', $path) or die "$path: $!\n";
	print $file $text;
	close($file) or die "$path: $!\n";
	chmod($mode, $path) if $mode;
}

# In the shell of the tests, with what lib.sh has.
sub shell {
	my ($script) = @_;
	my ($status, $text) = run('bash', '-c', ". ./lib.sh; $script");
	die "$script: exit code $status\n$text" if $status;
	return $text =~ s/\n$//r;
}

# What it is while it has its card: its processes, as far as a new start changes them. '' it does not have it.
sub identity {
	my ($yielder) = @_;
	my $kind = $yielder->{kind};
	if ($kind eq 'vm') {
		my $pid = pid_of($yielding_vm);
		return $pid && grep({ $_ eq $yielder->{card} } cards_of($yielding_vm)) ? $pid : '';
	}
	my $group = $kind eq 'unit' ? "system.slice/$unit" : "lxc/$ctid/ns/system.slice/ollama.service";
	my ($pid) = (slurp("/sys/fs/cgroup/$group/cgroup.procs") // '') =~ /^(\d+)/ or return '';
	return -e "/proc/$pid/fd/3" && (slurp("/proc/$pid/comm") // '') eq "sleep\n" ? $pid : '';
}

sub container_runs {
	return (slurp('/proc/net/unix') // '') =~ m|\@/var/lib/lxc/$ctid/command$|m;
}

sub is_stopped {
	my ($yielder) = @_;
	my $kind = $yielder->{kind};
	return !pid_of($yielding_vm) if $kind eq 'vm';
	return !container_runs() if $kind eq 'container';
	my $group = $kind eq 'unit' ? "system.slice/$unit" : "lxc/$ctid/ns/system.slice/ollama.service";
	return (slurp("/sys/fs/cgroup/$group/cgroup.procs") // '') eq '' && ($kind eq 'unit' || container_runs());
}

# Its starts and stops since it began, one letter each: a, o. Of a service in a container pct would be told
# a start of what runs: its processes tell more.
sub history {
	my ($yielder) = @_;
	my $kind = $yielder->{kind};
	my %words = (unit => [ '/run/soak.unit', '' ], container => [ '/run/tests.pct', " $ctid" ],
		vm => [ '/run/soak.qm', " $yielding_vm" ]);
	my ($path, $who) = @{ $words{$kind} // return '' };
	return join '', map { /^start$who\b/ ? 'a' : /^(?:stop|shutdown)$who\b/ ? 'o' : () } split /\n/, slurp($path) // '';
}

sub write_unit {
	my ($name, $command) = @_;
	spew("/run/systemd/system/$name", "[Service]\nType=exec\nExecStart=/bin/sh -c '$command'\n"
		. ($name eq $unit ? "ExecStopPost=/bin/sh -c 'echo stop >>/run/soak.unit'\n" : ''));
}

my %begin = (
	unit => sub {
		my ($card) = @_;
		my $node = "/dev/snd/by-path/pci-$card.1";
		write_unit($unit, "echo start >>/run/soak.unit; until [ -c $node ]; do sleep 0.1; done; exec sleep 100000 3<$node");
		shell("systemctl daemon-reload; systemctl start $unit");
	},
	container => sub {
		my ($card, $hooked) = @_;
		shell("container_with_card $ctid \"\$(control_of $card)\"" .
			($hooked ? "; echo 'hookscript: local:snippets/gpu-ferry' >>/etc/pve/lxc/$ctid.conf" : '') .
			"; container_start $ctid");
	},
	vm => sub {
		my ($card, undef, $real) = @_;
		my $option = $real ? '' : '[ "$1" != start ] || set -- "$@" --holder';
		spew('/usr/sbin/qm', "#!/bin/sh\necho \"\$1 \$2\" >>/run/soak.qm\n$option\nexec /tests/pve-vm \"\$@\"\n", 0755);
		vm_config($yielding_vm, 'hostpci0: ' . $card =~ s/^0000://r);
		shell("qm start $yielding_vm");
	},
);
$begin{'container-unit'} = $begin{container};

# A yielder of that kind, which has the card from now on. The settings come after.
sub yield_begin {
	my ($kind, $card, %how) = @_;
	my $yielder = { kind => $kind, card => $card };
	$begin{$kind}->($card, $how{hooked}, $how{real});
	yield_await($yielder) or die "the $kind does not get its card\n";
	return $yielder;
}

sub yield_settings {
	my @yielders = @_;
	$saved //= slurp($settings) // '';
	write_unit($bystander, 'exec sleep 100000');
	shell("systemctl daemon-reload; systemctl start $bystander");
	spew($settings, 'make_room = ( ' . join(', ', "{ unit = \"$bystander\"; }", map { $entry{ $_->{kind} } } @yielders)
		. " );\nbusy_wait_seconds = 30;\n");
	$_->{identity} = identity($_) for @yielders;
	return slurp("/sys/fs/cgroup/system.slice/$bystander/cgroup.procs");
}

sub yield_await {
	my ($yielder) = @_;
	return await(60, sub { identity($yielder) ne '' });
}

# Not while it is being started again and has its card not open yet: who starts then does not see it.
sub yield_is_settled {
	my ($yielder) = @_;
	my @starting = grep { (slurp("/run/gpu-ferry/loans/$_") // '') =~ /"state": *"returning".*"functions": *\[\s*\]/s } loan_files();
	return !@starting && (is_stopped($yielder) || identity($yielder) ne '');
}

# What is wrong with it, when it should run (or be stopped), and so many starts of VMs may have stopped it since
# the last look; '' nothing.
sub yield_wrong {
	my ($yielder, $should_run, $attempts) = @_;
	my $name = "the $yielder->{kind} on $yielder->{card}";
	if ($should_run) {
		return "$name does not run" if !yield_await($yielder);
	} elsif (!await(3, sub { is_stopped($yielder) })) {
		return "$name is not stopped";
	}
	my ($was, $now, $history) = ($yielder->{identity}, identity($yielder), history($yielder));
	return "$name was started twice: $history" if $history =~ /aa/;
	return "$name was stopped, and nobody wanted its card" if $was && $now ne $was && !$attempts;
	my $stops = () = $history =~ /o+/g;
	return "$name was stopped too often: $history" if $stops - ($yielder->{stops} // 0) > $attempts;
	@{$yielder}{qw(identity stops)} = ($now, $stops);
	return '';
}

# Empty, or who was touched that had nothing to do with it.
sub yield_end {
	my ($bystander_was, @yielders) = @_;
	my $now = slurp("/sys/fs/cgroup/system.slice/$bystander/cgroup.procs") // 'gone';
	spew($settings, $saved) if defined $saved;
	for (@yielders) {
		run('pve-vm', 'stop', $yielding_vm) if $_->{kind} eq 'vm' && pid_of($yielding_vm);
	}
	shell("systemctl stop $bystander $unit 2>/dev/null || true; rm -f /run/systemd/system/soak-*.service; systemctl daemon-reload;"
		. 'containers_gone; rm -f /run/soak.unit /run/soak.qm /usr/sbin/qm /etc/pve/qemu-server/' . "$yielding_vm.conf");
	return $now eq $bystander_was ? '' : "$bystander was touched: $bystander_was, now $now";
}

1;
