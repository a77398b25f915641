#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# install-driver.sh STEP: one step of installing NVIDIA's driver in a guest. It is built into
# gpu-ferry, which has the guest's own /bin/sh run it through the guest agent; what it says goes to
# the guest's log.

exec >>/var/log/gpu-ferry-driver.log 2>&1 </dev/null
set -e
# needrestart would restart the agent, and systemd end what the agent runs
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C

apt() {
	apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

# apt.systemd.daily holds the lock of the package lists after a start, and apt-get does not wait for
# that one.
update() {
	apt update || { sleep 20; apt update; } || { sleep 60; apt update; }
}

recommended() {
	ubuntu-drivers devices 2>/dev/null |
		sed -n 's/^driver *: *\(nvidia-driver-[a-z0-9-]*\) .*recommended.*/\1/p' | head -n 1
}

# The fifth byte of the variable is 1 when Secure Boot is on. DKMS signs what it builds with a key of
# its own.
check_secure_boot() {
	variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
	[ -e $variable ] || return 0
	[ "$(od -An -t u1 -j 4 -N 1 $variable | tr -d ' ')" = 1 ] || return 0
	! mokutil --test-key /var/lib/dkms/mok.pub 2>/dev/null | grep -q 'already enrolled' || return 0
	echo 'Secure Boot is on in the guest, and would refuse a driver that is built there: switch it' \
		'off in its firmware, or enrol the key of DKMS (mokutil --import /var/lib/dkms/mok.pub)'
	return 1
}

offer() { # [KEY]
	echo "deb ${1:+[signed-by=$1] }${mirror:-http://deb.debian.org/debian} $VERSION_CODENAME $components" >$list
}

# The mirror that the guest uses already, and its key, for apt refuses two keys for one place, and
# then does nothing any more: a file that it does not like does not stay.
add_components() {
	if apt-cache policy nvidia-driver | grep -q 'Candidate: [0-9]'; then
		echo 'nvidia-driver is there already'
		return 0
	fi
	# shellcheck source=/dev/null # the guest's
	. /etc/os-release
	components='contrib non-free non-free-firmware'
	[ "${VERSION_ID:-99}" -ge 12 ] || components='contrib non-free'
	# shellcheck disable=SC2016 # the names are apt's
	mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
		sed -n "s/^$VERSION_CODENAME main //p" | head -n 1)
	list=/etc/apt/sources.list.d/gpu-ferry.list
	trap '[ $? = 0 ] || rm -f $list' EXIT
	offer
	key=$(apt-get indextargets 2>&1 >/dev/null |
		sed -n 's/^E: Conflicting values set for option Signed-By.*[ :]\(\/[^ ]*\).*/\1/p' | head -n 1)
	[ -z "$key" ] || offer "$key"
	cat $list
	update
}

# Those of the running kernel, and of those to come: 6.1.0-28-cloud-amd64, 6.12.9+deb13-amd64.
add_headers() {
	flavour=$(uname -r)
	flavour=${flavour#*-}
	case $flavour in [0-9]*-*) flavour=${flavour#*-} ;; esac
	apt install "linux-headers-$(uname -r)" "linux-headers-$flavour"
}

find_recommended() {
	recommended | grep . && return 0
	apt install software-properties-common
	add-apt-repository -y ppa:graphics-drivers/ppa
	update
	recommended | grep . && return 0
	echo 'ubuntu-drivers recommends no driver for the card'
	return 1
}

# What ubuntu-drivers installs is signed for Secure Boot where Ubuntu has it; a driver from the PPA
# it may leave out, for that one is built in the guest.
add_recommended() {
	package=$(recommended)
	echo "recommended: $package"
	ubuntu-drivers install || echo "ubuntu-drivers ended with $?"
	dpkg-query -W -f '${db:Status-Status}\n' "$package" | grep -qx installed ||
		apt install "linux-headers-$(uname -r)" "$package"
}

case $1 in
secure-boot) check_secure_boot ;;
update) update ;;
components) add_components ;;
headers) add_headers ;;
driver) apt install nvidia-driver nvidia-smi ;;
ubuntu-drivers) apt install ubuntu-drivers-common ;;
find-recommended) find_recommended ;;
recommended) add_recommended ;;
*) echo "no step '$1'" && exit 2 ;;
esac
