"""TcpConfig: what it takes, what it refuses, and how it reads Linux's names."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

import pystack
from pystack import TcpConfig, UnsupportedSysctls


def test_the_defaults_are_linux_s():
    config = TcpConfig()
    assert (config.rto_initial, config.rto_min, config.delayed_ack) == (1.0, 0.2, 0.04)
    assert (config.syn_retries, config.synack_retries, config.retries2) == (6, 5, 15)
    assert config.receive_buffer == (4096, 131072, 33554432)
    assert config.congestion_control == "cubic"


def test_the_core_s_own_defaults_are_the_same():
    """A stack without a TcpConfig does not load one."""
    from native.core import default_tcp_config

    known, wanted = default_tcp_config(), TcpConfig().core()
    assert {name: known[name] for name in wanted} == wanted


def test_a_stack_without_one_says_what_it_is_configured_with():
    with pystack.Stack("10.0.0.0/24") as stack:
        assert stack.tcp == TcpConfig()
        stack.configure(TcpConfig(sack=False))
        assert not stack.tcp.sack


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TcpConfig().sack = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rto_min": 0}, "rto_min 0 is not within 0.001 and 120 seconds"),
        ({"rto_min": float("nan")}, "rto_min nan"),
        ({"rto_min": "1s"}, "rto_min: a number of seconds"),
        ({"rto_min": 10, "rto_max": 5}, "rto_min 10 is above rto_max 5"),
        ({"delayed_ack": 0.3}, "above delayed_ack_max"),
        ({"syn_retries": 0}, "syn_retries 0 is not within 1 and 127"),
        ({"syn_retries": 3.0}, "syn_retries: an integer"),
        ({"syn_retries": True}, "syn_retries: an integer"),
        ({"sack": 1}, "sack: True or False, not 1"),
        ({"receive_buffer": 4096}, r"receive_buffer: \(least, default, most\)"),
        ({"receive_buffer": (4096, 2048, 8192)}, "not in order"),
        ({"send_buffer": (4096, 2.5, 8192)}, "send_buffer"),
        ({"fastopen_key": b"short"}, "16 or 32 bytes"),
        ({"port_range": (5000, 4000)}, "port_range"),
        ({"congestion_control": "vegas"}, "congestion_control: reno or cubic or bbr"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(changes, says):
    with pytest.raises(ValueError, match=says):
        TcpConfig(**changes)


def test_every_field_says_what_it_may_hold():
    for one in fields(TcpConfig):
        assert one.metadata["kind"], one.name


def test_a_stack_knows_its_configuration():
    config = TcpConfig(sack=False)
    with pystack.Stack("10.0.0.0/24", tcp=config) as stack:
        assert stack.tcp is config
    with pystack.Stack("10.0.0.0/24") as stack:
        assert stack.tcp == TcpConfig()


# RFC 7323 section 2.3, as Linux computes it from the receive buffer.
@pytest.mark.parametrize(
    ("most", "scale"), [(6291456, 7), (15728640, 8), (33554432, 10), (4194304, 7), (1 << 30, 14)]
)
def test_the_window_scale_follows_the_largest_receive_buffer(most, scale):
    assert TcpConfig(receive_buffer=(4096, 131072, most)).window_scale == scale
    config = TcpConfig(receive_buffer=(4096, 131072, most), window_scaling=False)
    assert config.window_scale == 0


@pytest.mark.parametrize(
    ("share", "window"), [(1, 50_000), (2, 75_000), (0, 100_000), (-1, 50_000)]
)
def test_the_share_of_the_window_is_that_of_tcp_adv_win_scale(share, window):
    assert TcpConfig(window_share=share).window_of(100_000) == window


def test_linux_s_names_are_read():
    config = TcpConfig.from_sysctls(
        {
            "net.ipv4.tcp_rmem": "4096 540000 15728640",
            "/proc/sys/net/ipv4/tcp_wmem": "4096\t262144\t4194304\n",
            "tcp_rto_min_us": 50000,
            "net.ipv4.tcp_rto_max_ms": "60000",
            "net.ipv4.tcp_no_metrics_save": "1",
            "net.ipv4.tcp_fastopen": "0x70403",
            "net.ipv4.tcp_notsent_lowat": "-1",
            "net.ipv4.ip_local_port_range": "2000 3000",
            "net.core.rmem_max": "212992",
            "net.ipv4.tcp_congestion_control": "reno",
            "net.ipv4.tcp_invalid_ratelimit": "250",
        }
    )
    assert config.receive_buffer == (4096, 540000, 15728640)
    assert config.send_buffer == (4096, 262144, 4194304)
    assert (config.rto_min, config.rto_max, config.challenge_period) == (0.05, 60, 0.25)
    assert config.metrics is False
    assert config.fastopen == 0x70403
    assert config.notsent_lowat == 0xFFFFFFFF
    assert config.port_range == (2000, 3000)
    assert config.receive_buffer_limit == 212992
    assert config.congestion_control == "reno"


def test_a_fast_open_key_is_read_as_linux_writes_it():
    one = TcpConfig.from_sysctls({"net.ipv4.tcp_fastopen_key": "00010203-0-0-ff"}).fastopen_key
    assert one == bytes.fromhex("03020100 00000000 00000000 ff000000")
    two = TcpConfig.from_sysctls({"tcp_fastopen_key": "1-2-3-4,5-6-7-8"}).fastopen_key
    assert two is not None
    assert len(two) == 32


def test_settings_without_a_meaning_here_are_passed_over():
    assert TcpConfig.from_sysctls({"net.ipv4.tcp_autocorking": 0}) == TcpConfig()
    assert TcpConfig.from_sysctls({"net.ipv4.tcp_fack": "0"}) == TcpConfig()


def test_settings_begin_with_what_they_are_given():
    base = TcpConfig(sack=False)
    assert TcpConfig.from_sysctls({"net.ipv4.tcp_dsack": 0}, base) == TcpConfig(
        sack=False, dsack=False
    )


def test_what_cannot_be_honoured_is_told_and_the_rest_is_kept():
    with pytest.raises(UnsupportedSysctls) as caught:
        TcpConfig.from_sysctls(
            {
                "net.ipv4.tcp_quantum": 1,
                "net.ipv4.tcp_fack": 1,
                "net.ipv4.tcp_sack": "maybe",
                "net.ipv4.tcp_retries2": 300,
                "net.ipv4.tcp_syn_retries": 3,
            }
        )
    assert set(caught.value.reasons) == {
        "net.ipv4.tcp_quantum",
        "net.ipv4.tcp_fack",
        "net.ipv4.tcp_sack",
        "net.ipv4.tcp_retries2",
    }
    assert caught.value.config == TcpConfig(syn_retries=3)
