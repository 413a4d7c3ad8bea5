from pystack.device.base import Device

class PipeDevice(Device):
    def __init__(self, *args: object, **kwargs: object) -> None: ...  # refuses
    @staticmethod
    def pair(mtu: int = 1500, *, cut: bool = False) -> tuple[PipeDevice, PipeDevice]: ...
